#!/usr/bin/env python3
"""Writes an ONNX decoder with random f32 weights as external data, at real size or any other, to measure what
`lathe build` takes.

  bench/models/make_onnx_decoder.py FOLDER [--hidden N] [--intermediate N] [--layers N] [--heads N] [--vocab N]

FOLDER/model.onnx computes logits [batch, sequence, vocab] of input_ids [batch, sequence] as OPT does: learned positions,
norms before products, biases, GELU, and query, key and value as products of their own. The defaults are the sizes of a
model of 6.7 billion parameters, whose 27 GB FOLDER/weights.bin then has; with --layers 8 it has 7.5 GB. Needs onnx.
"""
import argparse
import math
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, save


class Model:
    def __init__(self, data):
        self.data, self.nodes, self.initializers = data, [], []
        self.random = np.random.default_rng(0)

    def node(self, op, inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def weight(self, *shape, deviation=0.02, mean=0.0):
        """Appended to the file in slices, so that this program stays small."""
        name, offset, elements = f"w{len(self.initializers)}", self.data.tell(), math.prod(shape)
        for begin in range(0, elements, 1 << 24):
            part = self.random.standard_normal(min(1 << 24, elements - begin), dtype=np.float32)
            self.data.write((part * np.float32(deviation) + np.float32(mean)).tobytes())
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape,
                             data_location=TensorProto.EXTERNAL)
        for key, value in (("location", Path(self.data.name).name), ("offset", offset), ("length", 4 * elements)):
            tensor.external_data.add(key=key, value=str(value))
        self.initializers.append(tensor)
        return name

    def constant(self, values, dtype=np.int64):
        values = np.array(values, dtype)
        tensor = helper.make_tensor(f"c{len(self.initializers)}", helper.np_dtype_to_tensor_dtype(values.dtype),
                                    values.shape, values.flatten().tolist())
        self.initializers.append(tensor)
        return tensor.name

    def linear(self, x, rows, columns):
        return self.node("Add", [self.node("MatMul", [x, self.weight(rows, columns)]), self.weight(columns)])

    def norm(self, x, size):
        return self.node("LayerNormalization", [x, self.weight(size, mean=1.0), self.weight(size)], axis=-1)

    def gelu(self, x):
        erf = self.node("Erf", [self.node("Div", [x, self.constant(math.sqrt(2), np.float32)])])
        one = self.node("Add", [erf, self.constant(1, np.float32)])
        return self.node("Mul", [self.node("Mul", [x, one]), self.constant(0.5, np.float32)])

    def attention(self, x, mask, a):
        size = a.hidden // a.heads

        def heads(perm):
            split = self.node("Reshape", [self.linear(x, a.hidden, a.hidden), self.constant([0, 0, a.heads, size])])
            return self.node("Transpose", [split], perm=perm)

        q, k, v = heads([0, 2, 1, 3]), heads([0, 2, 3, 1]), heads([0, 2, 1, 3])
        scores = self.node("Div", [self.node("MatMul", [q, k]), self.constant(math.sqrt(size), np.float32)])
        weights = self.node("Softmax", [self.node("Add", [scores, mask])], axis=-1)
        mixed = self.node("Transpose", [self.node("MatMul", [weights, v])], perm=[0, 2, 1, 3])
        return self.linear(self.node("Reshape", [mixed, self.constant([0, 0, a.hidden])]), a.hidden, a.hidden)

    def causal_mask(self, positions):
        queries = self.node("Unsqueeze", [positions, self.constant([1])])
        hidden = self.node("Less", [queries, positions])
        return self.node("Where", [hidden, self.constant(-3e38, np.float32), self.constant(0, np.float32)])


def build(model, a):
    length = model.node("Gather", [model.node("Shape", ["input_ids"]), model.constant(1)])
    positions = model.node("Range", [model.constant(0), length, model.constant(1)])
    mask = model.causal_mask(positions)
    x = model.node("Add", [model.node("Gather", [model.weight(a.vocab, a.hidden), "input_ids"]),
                           model.node("Gather", [model.weight(2048, a.hidden), positions])])
    for _ in range(a.layers):
        x = model.node("Add", [x, model.attention(model.norm(x, a.hidden), mask, a)])
        up = model.gelu(model.linear(model.norm(x, a.hidden), a.hidden, a.intermediate))
        x = model.node("Add", [x, model.linear(up, a.intermediate, a.hidden)])
    head = helper.make_node("MatMul", [model.norm(x, a.hidden), model.weight(a.hidden, a.vocab)], ["logits"])
    shape = ["batch", "sequence"]
    return helper.make_graph(model.nodes + [head], "decoder",
                             [helper.make_tensor_value_info("input_ids", TensorProto.INT64, shape)],
                             [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape + [a.vocab])],
                             model.initializers)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    for name, default in (("hidden", 4096), ("intermediate", 16384), ("layers", 32), ("heads", 32), ("vocab", 50272)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with open(args.folder / "weights.bin", "wb") as data:
        graph = build(Model(data), args)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), args.folder / "model.onnx")


if __name__ == "__main__":
    main()
