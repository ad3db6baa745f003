"""build, run, compare, bench and inspect on the bundled models."""

import signal
import subprocess
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cli import LATHE, SENTIMENT, lathe, lathe_fails, lathe_json, lathe_ok


def save_model(path, nodes, inputs, outputs, initializers=(), opset=17):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def float_info(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def test_build_reports_what_it_did(tmp_path):
    plan = tmp_path / "s.plan"
    report = lathe_json("build", SENTIMENT, "-o", plan, "--profile", "*:1x8:1x32:4x128")
    assert plan.stat().st_size == report["plan_bytes"]
    assert report["steps"] < report["nodes_before"]
    assert any(p["name"] == "fuse-attention" and p["rewrites"] == 6 for p in report["passes"])
    assert any(k["kernel"] == "gemm" for k in report["kernels"])
    inspected = lathe_json("inspect", plan)
    assert inspected["plan"]["profiles"][0]["input_ids"] == {"min": [1, 8], "opt": [1, 32], "max": [4, 128]}


def test_the_same_model_gives_the_same_plan(tmp_path, sentiment_plan):
    again = tmp_path / "again.plan"
    lathe_ok("build", SENTIMENT, "-o", again)
    assert again.read_bytes() == sentiment_plan.read_bytes()


def test_build_from_a_plan(tmp_path, sentiment_plan):
    same, tuned, older = tmp_path / "same.plan", tmp_path / "tuned.plan", tmp_path / "older.plan"
    lathe_ok("build", sentiment_plan, "-o", same)
    assert same.read_bytes() == sentiment_plan.read_bytes()
    report = lathe_json("build", sentiment_plan, "-o", tuned, "--profile", "*:1x8:1x32:4x128")
    assert report["kernels_timed"] > 0
    lathe_ok("build", sentiment_plan, "-o", older, "--isa", "generic")
    for plan in (tuned, older):
        lathe_ok("compare", SENTIMENT, plan, "--dim", "sequence=16")
    complaint = lathe_fails("build", sentiment_plan, "-o", same, "--disable-pass", "fuse-norm")
    assert "passes have run already" in complaint and "build from the model" in complaint
    assert "overwrite" in lathe_fails("build", same, "-o", same)


@pytest.mark.parametrize("arguments, complaint", [
    (["--profile", "idx:1x8:1x8:1x8"], "input_ids"),
    (["--profile", "input_ids:8:8:8"], "does not fit"),
    (["--profile", "input_ids:1x8:1x4:1x8"], "MIN"),
    (["--profile", "input_ids"], "NAME:MIN:OPT:MAX"),
    (["--shape", "input_ids:99999999999x99999999"], "would have 1e+19 elements"),
    (["--fp8"], "The types there are"),
    (["--disable-pass", "fuse-attentoin"], "fuse-attention"),
    (["--isa", "mmx"], "generic"),
])
def test_build_refuses_what_does_not_fit(tmp_path, arguments, complaint):
    assert complaint in lathe_fails("build", SENTIMENT, "-o", tmp_path / "x.plan", *arguments)
    assert not list(tmp_path.iterdir())


def test_unwritable_output(tmp_path):
    assert "missing/x.plan" in lathe_fails("build", SENTIMENT, "-o", tmp_path / "missing" / "x.plan")
    lathe_fails("run", SENTIMENT, "-o", tmp_path / "missing" / "x.npz")
    copy = tmp_path / "model.onnx"
    copy.write_bytes(SENTIMENT.read_bytes())
    assert "overwrite" in lathe_fails("build", copy, "-o", copy)


def test_damaged_files(tmp_path, sentiment_plan):
    for original in (SENTIMENT, sentiment_plan):
        data = original.read_bytes()
        for name, content in (("empty", b""), ("short", data[:len(data) // 2]), ("text", b"hello")):
            path = tmp_path / f"{name}{original.suffix}"
            path.write_bytes(content)
            assert path.name in lathe_fails("run", path)
    assert "missing.onnx" in lathe_fails("inspect", tmp_path / "missing.onnx")


def test_run_makes_up_inputs_and_records(tmp_path):
    out = tmp_path / "out.npz"
    report = lathe_json("run", SENTIMENT, "--shape", "input_ids:2x7", "-o", out)
    arrays = np.load(out)
    assert arrays["in:input_ids"].shape == (2, 7)
    assert arrays["in:input_ids"].min() >= 0 and arrays["in:input_ids"].max() < 5000
    assert (arrays["in:attention_mask"] == 1).all() and (arrays["in:token_type_ids"] == 0).all()
    assert arrays["out:logits"].shape == (2, 2)
    assert report["outputs"][0]["shape"] == [2, 2]
    same = tmp_path / "same.npz"
    lathe_ok("run", SENTIMENT, "--shape", "input_ids:2x7", "-o", same)
    assert (np.load(same)["in:input_ids"] == arrays["in:input_ids"]).all()
    lathe_ok("run", SENTIMENT, "--shape", "input_ids:2x7", "--seed", 1, "-o", same)
    assert (np.load(same)["in:input_ids"] != arrays["in:input_ids"]).any()


def test_padding_changes_nothing_when_it_is_left_out(tmp_path):
    logits = {}
    for packing in ("off", "auto", "on"):
        out = tmp_path / f"{packing}.npz"
        lathe_ok("run", SENTIMENT, "--shape", "*:5x20", "--lengths", "half", "--packing", packing, "-o", out)
        arrays = np.load(out)
        logits[packing] = arrays["out:logits"]
        lengths = arrays["in:attention_mask"].sum(axis=1)
        assert lengths.min() < lengths.max() <= 20
    assert np.allclose(logits["auto"], logits["off"], atol=1e-5) and np.allclose(logits["on"], logits["off"], atol=1e-5)
    assert "unknown packing 'some'" in lathe_fails("run", SENTIMENT, "--packing", "some")


def test_inputs_from_files(tmp_path):
    model = save_model(tmp_path / "add.onnx", [helper.make_node("Add", ["a", "b"], ["c"])],
                       [float_info("a", ["n", 2]), float_info("b", ["n", 2])], [float_info("c", ["n", 2])])
    a, b = np.arange(6, dtype=np.float32).reshape(3, 2), np.full((3, 2), 10, np.float32)
    np.save(tmp_path / "a.npy", a)
    np.savez(tmp_path / "b.npz", b=b)
    (tmp_path / "b.bin").write_bytes(b.tobytes())
    np.savez(tmp_path / "all.npz", a=a, b=b)
    out = tmp_path / "out.npz"
    for arguments in (["--input", f"a={tmp_path}/a.npy", "--input", f"b={tmp_path}/b.npz"],
                      ["--input", f"a={tmp_path}/a.npy", "--input", f"b={tmp_path}/b.bin", "--shape", "b:3x2"],
                      ["--input", tmp_path / "all.npz"]):
        lathe_ok("run", model, "-o", out, *arguments)
        assert (np.load(out)["out:c"] == a + b).all()
    np.save(tmp_path / "wide.npy", np.zeros((3, 3), np.float32))
    np.save(tmp_path / "long.npy", np.zeros((3, 2), np.int64))
    for name, complaint in (("wide", "axis 1"), ("long", "i64"), ("gone", "gone.npy")):
        assert complaint in lathe_fails("run", model, "--input", f"a={tmp_path}/{name}.npy")
    assert "has no input 'z'" in lathe_fails("run", model, "--input", f"z={tmp_path}/a.npy")


def test_compare(tmp_path, sentiment_plan):
    report = lathe_json("compare", SENTIMENT, sentiment_plan, "--dim", "sequence=9")
    assert report["passed"] and report["outputs"][0]["cosine"] > 0.99999
    recording = tmp_path / "expected.npz"
    lathe_ok("run", SENTIMENT, "--device", "reference", "--dim", "sequence=9", "-o", recording)
    assert lathe_json("compare", recording, sentiment_plan)["passed"]
    arrays = dict(np.load(recording))
    arrays["out:logits"] = arrays["out:logits"] + np.float32([0, 0.5])
    np.savez(tmp_path / "wrong.npz", **arrays)
    wrong = lathe_json("compare", tmp_path / "wrong.npz", sentiment_plan, status=1)
    assert not wrong["passed"] and wrong["outputs"][0]["failed_elements"] == 1
    enough = wrong["outputs"][0]["smallest_tolerance"] * 1.001
    lathe_ok("compare", tmp_path / "wrong.npz", sentiment_plan, "--atol", enough, "--rtol", enough)
    assert lathe_json("compare", recording, tmp_path / "wrong.npz", status=1)["outputs"][0]["name"] == "logits"
    arrays["out:logits"][0, 0] = np.nan
    np.savez(tmp_path / "nan.npz", **arrays)
    assert lathe_json("compare", tmp_path / "nan.npz", sentiment_plan, status=1)["outputs"][0]["smallest_tolerance"] == "inf"


def test_compare_layers_names_the_first_that_drifts(tmp_path):
    def model(path, factor):
        return save_model(path, [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Softmax", ["h"], ["s"]),
                                 helper.make_node("Mul", ["s", "f"], ["m"]), helper.make_node("ReduceSum", ["m"], ["y"])],
                          [float_info("x", ["n", 4])], [float_info("y", None)],
                          [helper.make_tensor("w", TensorProto.FLOAT, [4, 4], np.arange(16) / 8.0),
                           helper.make_tensor("f", TensorProto.FLOAT, [], [factor])])
    a, b = model(tmp_path / "a.onnx", 1.0), model(tmp_path / "b.onnx", 1.01)
    same = lathe_json("compare", a, a, "--layers", "--dim", "n=3")
    assert same["passed"] and {"h", "s"} <= {layer["value"] for layer in same["layers"]}
    drift = lathe_json("compare", a, b, "--layers", "--dim", "n=3", status=1)
    assert drift["first_drift"] in ("m", "y")
    assert not any(layer["drifted"] for layer in drift["layers"] if layer["value"] in ("h", "s"))


def test_bench(sentiment_plan):
    report = lathe_json("bench", sentiment_plan, "--shape", "input_ids:1x16", "--shape", "attention_mask:1x16", "--iterations", 5,
                        "--warmup", 1, "--threads", 1)
    latency = report["latency_ms"]
    assert latency["count"] == 5 and 0 < latency["min"] <= latency["median"] <= latency["p99"] <= latency["max"]
    assert report["gflop_per_run"] > 0.05 and report["threads"] == 1
    two = lathe_json("bench", sentiment_plan, "--dim", "sequence=8", "--iterations", 3, "--warmup", 1, "--streams", 2, "--threads", 1)
    assert two["latency_ms"]["count"] == 6


def test_bench_profile_and_sweep(sentiment_plan):
    report = lathe_json("bench", sentiment_plan, "--dim", "sequence=8", "--iterations", 2, "--warmup", 1, "--profile")
    assert abs(sum(layer["percent"] for layer in report["layers"]) - 100) < 0.1
    assert report["peak"]["gflops"] > 0
    sweep = lathe_json("bench", sentiment_plan, "--sweep", "batch=1,2", "sequence=4", "--iterations", 2, "--warmup", 1, "--latency", "10s")
    assert [p["setting"] for p in sweep["points"]] == [{"batch": 1, "sequence": 4}, {"batch": 2, "sequence": 4}]
    assert sum(p["best"] for p in sweep["points"]) == 1
    lathe_json("bench", sentiment_plan, "--sweep", "batch=1", "--iterations", 2, "--warmup", 1, "--latency", "0.001us", status=1)


def test_inspect(sentiment_plan):
    model, plan = lathe_json("inspect", SENTIMENT, "--layers", "--attrs", "--weights"), lathe_json("inspect", sentiment_plan, "--verify")
    assert model["onnx"]["opsets"] == {"ai.onnx": 17} and model["onnx"]["op_types"]["Softmax"] == 6
    assert model["parameters"] == plan["parameters"] > 3e6
    assert model["memory"]["arena_bytes"] < model["memory"]["activation_bytes"]
    assert len(model["layers"]) == model["steps"] == plan["steps"]
    assert sum(w["bytes"] for w in model["weights"]) >= model["weight_bytes"]
    assert plan["kind"] == "plan" and plan["plan"]["source"] == "model.onnx"


def test_inspect_names_what_pins_a_dimension(tmp_path):
    model = save_model(tmp_path / "pinned.onnx",
                       [helper.make_node("Squeeze", ["x", "axes"], ["y"], name="the_squeeze"),
                        helper.make_node("Reshape", ["y", "shape"], ["z"], name="the_reshape")],
                       [float_info("x", ["batch", "sequence", 4])], [float_info("z", None)],
                       [helper.make_tensor("axes", TensorProto.INT64, [1], [0]),
                        helper.make_tensor("shape", TensorProto.INT64, [2], [2, 32])])
    pins = {(p["dimension"], tuple(p["needed"]), p["node"]) for p in lathe_json("inspect", model)["pinned_dimensions"]}
    assert pins == {("batch", (1,), "the_squeeze"), ("sequence", (16,), "the_reshape")}


def test_capability_lists_all_unsupported_nodes(tmp_path):
    assert lathe_json("inspect", "capability", SENTIMENT)["supported"]
    model = save_model(tmp_path / "odd.onnx",
                       [helper.make_node("Frobnicate", ["x"], ["y"], name="first", domain="org.example"),
                        helper.make_node("Twiddle", ["y"], ["z"], name="second", domain="org.example")],
                       [float_info("x", [1])], [float_info("z", [1])])
    report = lathe_json("inspect", "capability", model, status=1)
    assert [(n["name"], n["op"], n["domain"]) for n in report["unsupported"]][:1] == [("first", "Frobnicate", "org.example")]
    assert all(n["reason"] for n in report["unsupported"])
    assert lathe("build", model, "-o", tmp_path / "x.plan").returncode == 2


def test_interrupt_leaves_nothing_behind(tmp_path):
    process = subprocess.Popen([LATHE, "bench", SENTIMENT, "--duration", "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130 and out == b"" and not list(tmp_path.iterdir())


def test_full_disk():
    with open("/dev/full", "w") as full:
        done = subprocess.run([LATHE, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "standard output" in done.stderr
