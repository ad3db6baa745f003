#!/usr/bin/env python3
"""Writes tests/data/llm/onnx/: one tiny decoder in the forms that exporters give decoders.

- pair/: decoder_model.onnx begins sequences, decoder_with_past_model.onnx continues them. As in old exports, the latter
  was traced with one token and has no causal mask, so it is wrong for several.
- merged/: decoder_model_merged.onnx, both as branches of an If.
- plain/: model.onnx, which takes no past.
- transposed/: model.onnx takes a past of any length, keys [batch * heads, dim, tokens] and values
  [batch * heads, tokens, dim], as BLOOM's first exports.
- seq2seq/: the same behind an encoder, to whose states it attends, merged.

Those of each kind compute the same; onnxruntime's greedy tokens, each step anew from the whole sequence, are in
expected.json and seq2seq.json.
"""

import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h

OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "llm" / "onnx"
VOCAB, HIDDEN, HEADS, DIM, POSITIONS, START = 24, 8, 2, 4, 40, 5
rng = np.random.default_rng(7)
WEIGHTS = {
    "embedding": rng.normal(0, 1, (VOCAB, HIDDEN)),
    "position": rng.normal(0, 1, (POSITIONS, HIDDEN)),
    "qkv": rng.normal(0, 0.6, (HIDDEN, 3 * HIDDEN)),
    "out": rng.normal(0, 0.8, (HIDDEN, HIDDEN)),
    "head": rng.normal(0, 1, (HIDDEN, VOCAB)),
}
CONSTANTS = {
    "by_head": np.array([0, 0, HEADS, DIM]), "flat": np.array([0, 0, HIDDEN]), "three": np.array([HIDDEN] * 3),
    "scale": np.array(DIM ** -0.5, np.float32), "hidden": np.array(-1e9, np.float32), "one": np.array(1, np.int64),
    "axis_3": np.array([3]), "axis_2": np.array([2]), "zero": np.array(0, np.int64), "last": np.array([-1]),
}


def tensors():
    named = {k: v.astype(np.float32) for k, v in WEIGHTS.items()} | CONSTANTS
    return [onnx.numpy_helper.from_array(v, k) for k, v in named.items()]


def decoder_nodes(past, causal, transposed, present=True, source=False):
    """Nodes from input_ids, attention_mask, position_ids and the past to logits and the present."""
    nodes, of = [], "0.decoder" if source else "0"

    def node(op, inputs, output, **attributes):
        nodes.append(h.make_node(op, inputs, [output] if isinstance(output, str) else output, **attributes))

    node("Gather", ["embedding", "input_ids"], "tokens")
    node("Gather", ["position", "position_ids"], "places")
    node("Add", ["tokens", "places"], "x")
    node("MatMul", ["x", "qkv"], "fused")
    node("Split", ["fused", "three"], ["q_flat", "k_flat", "v_flat"], axis=2)
    for side in "qkv":
        node("Reshape", [side + "_flat", "by_head"], side + "_heads")
        node("Transpose", [side + "_heads"], side + "_new", perm=[0, 2, 1, 3])
    k, v, axis_k, axis_v = "k_new", "v_new", 2, 2
    if transposed:  # [batch * heads, dim, tokens] and [batch * heads, tokens, dim]
        node("Transpose", ["k_heads"], "k_columns", perm=[0, 2, 3, 1])
        node("Reshape", ["k_columns", "columns_of"], "k_old")
        node("Reshape", ["v_new", "rows_of"], "v_old")
        k, v, axis_v = "k_old", "v_old", 1
    if past:
        node("Concat", [f"past_key_values.{of}.key", k], f"present.{of}.key", axis=axis_k)
        node("Concat", [f"past_key_values.{of}.value", v], f"present.{of}.value", axis=axis_v)
        k, v = f"present.{of}.key", f"present.{of}.value"
    elif present:
        node("Identity", [k], f"present.{of}.key")
        node("Identity", [v], f"present.{of}.value")
    if transposed:
        node("Reshape", [k, "split_k"], "k_all")
        node("Reshape", [v, "split_v"], "v_all")
        node("MatMul", ["q_new", "k_all"], "raw")
        v = "v_all"
    else:
        node("Transpose", [k], "k_turned", perm=[0, 1, 3, 2])
        node("MatMul", ["q_new", "k_turned"], "raw")
    node("Mul", ["raw", "scale"], "scores")
    scores = "scores"
    if causal:  # key <= query + past
        node("Shape", ["scores"], "score_shape")
        node("Gather", ["score_shape", "axis_3"], "total_1")
        node("Gather", ["score_shape", "axis_2"], "count_1")
        node("Squeeze", ["total_1"], "total")
        node("Squeeze", ["count_1"], "count")
        node("Sub", ["total", "count"], "before")
        node("Range", ["zero", "total", "one"], "keys")
        node("Range", ["before", "total", "one"], "queries")
        node("Unsqueeze", ["queries", "last"], "query_column")
        node("Greater", ["keys", "query_column"], "later")
        node("Where", ["later", "hidden", "scores"], "masked")
        scores = "masked"
    node("Softmax", [scores], "weights", axis=-1)
    node("MatMul", ["weights", v], "mixed")
    node("Transpose", ["mixed"], "mixed_tokens", perm=[0, 2, 1, 3])
    node("Reshape", ["mixed_tokens", "flat"], "joined")
    node("MatMul", ["joined", "out"], "projected")
    node("Add", ["x", "projected"], "y")
    if source:
        attend_to_source(node, past)
    node("MatMul", ["z" if source else "y", "head"], "logits")
    return nodes


def attend_to_source(node, past):
    """From y to z: keys and values of the source are made of its states once, and read from then on."""
    def heads(flat, name):
        node("Reshape", [flat, "by_head"], name + "_by_head")
        node("Transpose", [name + "_by_head"], name, perm=[0, 2, 1, 3])

    node("MatMul", ["y", "out"], "q2_flat")
    heads("q2_flat", "q2")
    if not past:
        node("MatMul", ["encoder_hidden_states", "source_kv"], "kv2")
        node("Split", ["kv2", "two"], ["k2_flat", "v2_flat"], axis=2)
        heads("k2_flat", "present.0.encoder.key")
        heads("v2_flat", "present.0.encoder.value")
    k, v = (f"{'past_key_values' if past else 'present'}.0.encoder.{side}" for side in ("key", "value"))
    node("Transpose", [k], "k2_turned", perm=[0, 1, 3, 2])
    node("MatMul", ["q2", "k2_turned"], "raw2")
    node("Cast", ["encoder_attention_mask"], "counts", to=T.FLOAT)
    node("Sub", ["counts", "one_f"], "absent")
    node("Mul", ["absent", "large"], "far")
    node("Unsqueeze", ["far", "by_row"], "bias2")
    node("Add", ["raw2", "bias2"], "scores2")
    node("Softmax", ["scores2"], "weights2", axis=-1)
    node("MatMul", ["weights2", v], "mixed2")
    node("Transpose", ["mixed2"], "mixed2_tokens", perm=[0, 2, 1, 3])
    node("Reshape", ["mixed2_tokens", "flat"], "joined2")
    node("Add", ["y", "joined2"], "z")


def value(name, kind, *dims):
    return h.make_tensor_value_info(name, kind, list(dims))


def ids(total):
    return [value("input_ids", T.INT64, "batch", "tokens"), value("attention_mask", T.INT64, "batch", total),
            value("position_ids", T.INT64, "batch", "tokens")]


def cache(prefix, tokens, batch="batch"):
    return [value(f"{prefix}.0.{side}", T.FLOAT, batch, HEADS, tokens, DIM) for side in ("key", "value")]


LOGITS = value("logits", T.FLOAT, "batch", "tokens", VOCAB)


def save(path, nodes, inputs, outputs, initializers=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    graph = h.make_graph(nodes, "decoder", inputs, outputs, initializers or tensors())
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8), path)


def drop_unused(nodes, extra=()):
    used = {name for node in nodes for name in node.input} | set(extra)
    return [t for t in tensors() if t.name in used]


def write_all():
    first, second = decoder_nodes(False, True, False), decoder_nodes(True, False, False)
    save(OUT / "pair/decoder_model.onnx", first, ids("tokens"), [LOGITS] + cache("present", "tokens"),
         drop_unused(first))
    save(OUT / "pair/decoder_with_past_model.onnx", second, ids("past + tokens") + cache("past_key_values", "past"),
         [LOGITS] + cache("present", "past + tokens"), drop_unused(second))
    outputs = [value(name, T.FLOAT, *[None] * rank) for name, rank in
               (("logits", 3), ("present.0.key", 4), ("present.0.value", 4))]
    branches = {"then_branch": h.make_graph(second, "cached", [], outputs),
                "else_branch": h.make_graph(first, "fresh", [], outputs)}
    save(OUT / "merged/decoder_model_merged.onnx",
         [h.make_node("If", ["use_cache_branch"], [o.name for o in outputs], **branches)],
         ids("past + tokens") + cache("past_key_values", "past") + [value("use_cache_branch", T.BOOL, 1)],
         [LOGITS] + cache("present", "past + tokens"), drop_unused(first + second))
    plain = decoder_nodes(False, True, False, present=False)
    save(OUT / "plain/model.onnx", plain, ids("tokens"), [LOGITS], drop_unused(plain))
    CONSTANTS.update(rows_of=np.array([-1, 1, DIM]), columns_of=np.array([-1, DIM, 1]))
    turned = decoder_nodes(True, True, True)
    shapes = [  # -1 leaves the length open: the sizes before it are those of one sequence or more
        h.make_node("Shape", ["input_ids"], ["ids_shape"]),
        h.make_node("Slice", ["ids_shape", "from_1", "to_2"], ["count_axis"]),
        h.make_node("Slice", ["ids_shape", "from_0", "from_1"], ["batch_axis"]),
        h.make_node("Mul", ["batch_axis", "heads_1"], ["merged_axis"]),
        h.make_node("Concat", ["merged_axis", "dim_1", "count_axis"], ["columns_of"], axis=0),
        h.make_node("Concat", ["merged_axis", "count_axis", "dim_1"], ["rows_of"], axis=0),
        h.make_node("Concat", ["batch_axis", "heads_1", "dim_1", "last"], ["split_k"], axis=0),
        h.make_node("Concat", ["batch_axis", "heads_1", "last", "dim_1"], ["split_v"], axis=0),
    ]
    for name in ("rows_of", "columns_of"):
        CONSTANTS.pop(name)
    CONSTANTS.update(from_0=np.array([0]), from_1=np.array([1]), to_2=np.array([2]), heads_1=np.array([HEADS]),
                     dim_1=np.array([DIM]))
    save(OUT / "transposed/model.onnx", shapes + turned,
         ids("past + tokens") + [value("past_key_values.0.key", T.FLOAT, "batch_x_heads", DIM, "past"),
                                 value("past_key_values.0.value", T.FLOAT, "batch_x_heads", "past", DIM)],
         [LOGITS, value("present.0.key", T.FLOAT, "batch_x_heads", DIM, "past + tokens"),
          value("present.0.value", T.FLOAT, "batch_x_heads", "past + tokens", DIM)], drop_unused(shapes + turned))


def write_seq2seq():
    WEIGHTS.update(source_kv=np.random.default_rng(11).normal(0, 1, (HIDDEN, 2 * HIDDEN)))
    CONSTANTS.update(two=np.array([HIDDEN] * 2), one_f=np.array(1, np.float32), large=np.array(1e9, np.float32),
                     by_row=np.array([1, 2]))
    encoder = [h.make_node("Gather", ["embedding", "input_ids"], ["tokens"]),
               h.make_node("Cast", ["attention_mask"], ["counts"], to=T.FLOAT),
               h.make_node("Unsqueeze", ["counts", "last"], ["column"]),
               h.make_node("Mul", ["tokens", "column"], ["kept"]),
               h.make_node("MatMul", ["kept", "out"], ["mixed"]),
               h.make_node("Tanh", ["mixed"], ["last_hidden_state"])]
    source = [value("encoder_hidden_states", T.FLOAT, "batch", "states", HIDDEN)]
    mask = [value("encoder_attention_mask", T.INT64, "batch", "states")]
    first = decoder_nodes(False, True, False, source=True)
    second = decoder_nodes(True, False, False, source=True)

    def caches(side):
        return [value(f"{side}.0.{kind}.{part}", T.FLOAT, "batch", HEADS, length, DIM)
                for kind, length in (("decoder", "past"), ("encoder", "states_past")) for part in ("key", "value")]

    given = ids("total")[::2]  # no mask: all earlier tokens count
    save(OUT / "seq2seq/encoder_model.onnx", encoder, ids("tokens")[:2],
         [value("last_hidden_state", T.FLOAT, "batch", "tokens", HIDDEN)], drop_unused(encoder))
    (OUT / "seq2seq/config.json").write_text(json.dumps(
        {"model_type": "t5", "vocab_size": VOCAB, "n_positions": POSITIONS, "decoder_start_token_id": START}) + "\n")
    names = ["logits"] + [c.name for c in caches("present")]
    outputs = [value(name, T.FLOAT, *[None] * (3 if name == "logits" else 4)) for name in names]
    for side in ("key", "value"):  # what the caller has already comes back as nothing
        second.append(h.make_node("Slice", [f"past_key_values.0.encoder.{side}", "axis_0", "axis_0", "axis_0"],
                                  [f"present.0.encoder.{side}"]))
    CONSTANTS.update(axis_0=np.array([0]))
    branches = {"then_branch": h.make_graph(second, "cached", [], outputs),
                "else_branch": h.make_graph(first, "fresh", [], outputs)}
    save(OUT / "seq2seq/decoder_model_merged.onnx",
         [h.make_node("If", ["use_cache_branch"], names, **branches)],
         given + source + mask + caches("past_key_values") + [value("use_cache_branch", T.BOOL, 1)],
         [LOGITS] + [value(o.name, T.FLOAT, *[None] * 4) for o in outputs[1:]], drop_unused(first + second))


def answer(source, count):
    import onnxruntime
    open_model = lambda name: onnxruntime.InferenceSession(OUT / "seq2seq" / name, providers=["CPUExecutionProvider"])
    mask = np.ones((1, len(source)), np.int64)
    states = open_model("encoder_model.onnx").run(None, {"input_ids": np.array([source]), "attention_mask": mask})[0]
    decoder, tokens = open_model("decoder_model_merged.onnx"), [START]
    for _ in range(count):
        feed = {"input_ids": np.array([tokens]), "position_ids": np.arange(len(tokens))[None],
                "encoder_hidden_states": states, "encoder_attention_mask": mask, "use_cache_branch": np.array([False])}
        feed |= {i.name: np.zeros((1, HEADS, 0, DIM), np.float32) for i in decoder.get_inputs() if "past" in i.name}
        tokens.append(int(decoder.run(["logits"], feed)[0][0, -1].argmax()))
    return tokens[1:]


def greedy(prompt, count):
    import onnxruntime
    session = onnxruntime.InferenceSession(OUT / "plain/model.onnx", providers=["CPUExecutionProvider"])
    tokens = list(prompt)
    for _ in range(count):
        n = len(tokens)
        feed = {"input_ids": np.array([tokens]), "attention_mask": np.ones((1, n), np.int64),
                "position_ids": np.arange(n)[None]}
        feed = {k: v for k, v in feed.items() if k in {i.name for i in session.get_inputs()}}
        tokens.append(int(session.run(["logits"], feed)[0][0, -1].argmax()))
    return tokens[len(prompt):]


if __name__ == "__main__":
    write_all()
    prompts = [[3, 1, 4, 1, 5, 9, 2, 6], [7], [2, 7, 1, 8, 2]]
    expected = [{"prompt": p, "greedy": greedy(p, 16)} for p in prompts]
    (OUT / "expected.json").write_text(json.dumps(expected) + "\n")
    write_seq2seq()
    answers = [{"prompt": p, "greedy": answer(p, 12)} for p in prompts + [[11] * 9 + [3, 20]]]
    (OUT / "seq2seq.json").write_text(json.dumps(answers) + "\n")
    for entry in expected + answers:
        print(entry)
