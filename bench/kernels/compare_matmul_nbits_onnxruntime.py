#!/usr/bin/env python3
"""MatMulNBits in ONNX Runtime beside ours, in turns: the products of a LLaMA of 1.1 billion weights.

usage: compare_matmul_nbits_onnxruntime.py path/to/cpu_matmul_nbits_bench [--bits 4] [--block 32] [--rows 1 512] [--rounds 3]

Both sides multiply rows with every weight once (fewer than 16 rows: the whole model; more: one layer), activations
rounded to 8 bits by blocks (accuracy_level 4) or kept (1).
"""

import argparse
import statistics
import subprocess
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

LAYER = [(2560, 2048), (2048, 2048), (11264, 2048), (2048, 5632)]
HEAD = (32000, 2048)
LAYERS = 22


def model(bits, block, whole, level):
    rng = np.random.default_rng(1)
    nodes, initializers, outputs = [], [], []
    shapes = LAYER * LAYERS + [HEAD] if whole else LAYER
    for i, (n, k) in enumerate(shapes):
        blocks = k // block
        packed = rng.integers(0, 256, (n, blocks, block * bits // 8), dtype=np.uint8)
        initializers.append(helper.make_tensor(f"b{i}", TensorProto.UINT8, packed.shape, packed.tobytes(), raw=True))
        scales = np.full(n * blocks, 0.01, np.float32)
        initializers.append(helper.make_tensor(f"s{i}", TensorProto.FLOAT, scales.shape, scales.tobytes(), raw=True))
        nodes.append(
            helper.make_node(
                "MatMulNBits", [f"x{k}", f"b{i}", f"s{i}"], [f"y{i}"], domain="com.microsoft",
                K=k, N=n, bits=bits, block_size=block, accuracy_level=level,
            )
        )
        outputs.append(helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, ["m", n]))
    inputs = [helper.make_tensor_value_info(f"x{k}", TensorProto.FLOAT, ["m", k]) for k in (2048, 5632)]
    graph = helper.make_graph(nodes, "nbits", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def session(args, whole, level):
    options = ort.SessionOptions()
    options.intra_op_num_threads = args.threads
    return ort.InferenceSession(model(args.bits, args.block, whole, level), options, providers=["CPUExecutionProvider"])


def rival_ms(rival, rows):
    feeds = {f"x{k}": np.full((rows, k), 0.5, np.float32) for k in (2048, 5632)}
    rival.run(None, feeds)
    times = []
    end = time.perf_counter() + 1.0
    while time.perf_counter() < end:
        start = time.perf_counter()
        rival.run(None, feeds)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def our_ms(args, rows):
    """Milliseconds by kind of activations, and their fractions of the read rate and of the peak."""
    command = [args.bench, args.threads, args.bits, args.block, rows]
    text = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout
    lines = [line.split() for line in text.splitlines()[2:]]
    return {line[1]: (float(line[2]), float(line[5]), float(line[7])) for line in lines}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 512])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(f"ONNX Runtime {ort.__version__}, onnx {onnx.__version__}, int{args.bits}, blocks of {args.block}")
    print(f"{'rows':>5} {'a':>8} {'ort ms':>9} {'ours ms':>9} {'ratio':>6} {'of read':>8} {'of peak':>8}")
    for rows in args.rows:
        for kind, level in (("rounded", 4), ("f32", 1)):
            rival = session(args, rows < 16, level)
            pairs = [(rival_ms(rival, rows), our_ms(args, rows)[kind]) for _ in range(args.rounds)]
            pairs.sort(key=lambda p: p[0] / p[1][0])
            theirs, (ours, read, peak) = pairs[len(pairs) // 2]
            print(f"{rows:>5} {kind:>8} {theirs:>9.2f} {ours:>9.2f} {theirs / ours:>6.2f} {read:>8.2f} {peak:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
