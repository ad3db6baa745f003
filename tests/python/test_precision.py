"""Precision by one flag: types are gated by measured accuracy, on the bundled trained models."""

import json
import shutil

import numpy
import onnx
import onnxruntime
import pytest
from onnxruntime.transformers.float16 import convert_float_to_float16

from cli import FILL_MASK, REVIEWS, ROOT, SENTIMENT, lathe, lathe_fails, lathe_json

TEXTS = ROOT / "tests" / "data" / "text" / "reviews.txt"
LINES = TEXTS.read_text().splitlines()


def build(model, plan, *flags, status=0):
    return lathe_json("build", model, "-o", plan, "--calib", TEXTS, *flags, status=status)


def probabilities(folder):
    return [answer["probabilities"]["negative"] for answer in lathe_json("classify", folder, *LINES)]


@pytest.fixture(scope="module")
def exact():
    return probabilities(REVIEWS / "sentiment")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the sentiment model's folder, without the model."""
    folder = tmp_path_factory.mktemp("sentiment")
    for name in ("tokenizer.json", "config.json"):
        shutil.copy(REVIEWS / "sentiment" / name, folder)
    return folder


def test_texts_are_of_both_kinds(exact):
    negative = sum(p > 0.5 for p in exact)
    assert 6 < negative < len(LINES) - 6


@pytest.mark.parametrize(
    "flags", [["--int8"], ["--int8", "--activations", "per-tensor", "--calibrator", "min-max"], ["--fp16"], ["--bf16"]])
def test_answers_stay(folder, exact, flags):
    report = build(SENTIMENT, folder / "model.plan", *flags)["precision"]
    assert report["met"] and not report["made_up_inputs"]
    assert all(output["cosine"] >= 0.999 for output in report["outputs"])
    assert sum(layer["type"] != "fp32" for layer in report["layers"]) > len(report["layers"]) / 2
    assert report["weight_bytes_after"] < report["weight_bytes_before"]
    found = probabilities(folder)
    assert sum((p > 0.5) == (e > 0.5) for p, e in zip(found, exact, strict=True)) >= len(LINES) - 1
    assert (found == exact) == (flags == ["--fp16"])  # the weights are fp16 to begin with


def test_a_half_precision_export_is_narrowed_like_the_f32_one(tmp_path):
    halves = tmp_path / "halves.onnx"
    onnx.save(convert_float_to_float16(onnx.load(SENTIMENT)), halves)
    flags = ["--tokenizer", REVIEWS / "sentiment", "--int8"]
    f32 = build(SENTIMENT, tmp_path / "a.plan", *flags)
    f16 = build(halves, tmp_path / "b.plan", *flags)
    assert f16["precision"]["met"]
    assert [layer["type"] for layer in f16["precision"]["layers"]] == [
        layer["type"] for layer in f32["precision"]["layers"]]
    assert f16["plan_bytes"] < f32["plan_bytes"] * 1.01
    kept = build(halves, tmp_path / "c.plan", *flags, "--keep-fp32", "*layer*")  # nothing grows to 32 bits
    assert f16["plan_bytes"] < kept["plan_bytes"] < halves.stat().st_size * 1.05


def test_masked_characters_stay(tmp_path):
    for name in ("tokenizer.json", "config.json"):
        shutil.copy(REVIEWS / "fill-mask" / name, tmp_path)
    assert build(FILL_MASK, tmp_path / "model.plan", "--int8")["precision"]["met"]
    texts = [line[:at] + "[MASK]" + line[at + 1:] for line in LINES for at in (1, len(line) // 2)]

    def best(folder):
        return [answer["masks"][0]["candidates"][0]["token"] for answer in lathe_json("fill-mask", folder, *texts)]

    same = sum(a == b for a, b in zip(best(REVIEWS / "fill-mask"), best(tmp_path), strict=True))
    assert same >= 0.95 * len(texts)


def test_first_choices_stay_as_far_as_is_asked(tmp_path):
    loose = build(FILL_MASK, tmp_path / "a.plan", "--int8")["precision"]
    share = loose["outputs"][0]["top1"]
    assert 0.9 < share < 1
    strict = build(FILL_MASK, tmp_path / "b.plan", "--int8", "--top1", (1 + share) / 2)["precision"]
    assert strict["met"] and strict["outputs"][0]["top1"] >= (1 + share) / 2
    kinds = [[layer["type"] for layer in report["layers"]].count("int8") for report in (loose, strict)]
    assert 0 < kinds[1] < kinds[0]


def test_a_bound_that_cannot_be_met(tmp_path):
    plan = tmp_path / "no.plan"
    report = build(SENTIMENT, plan, "--int8", "--max-error", "1e-9", status=3)["precision"]
    assert not report["met"] and not plan.exists()
    done = lathe("build", SENTIMENT, "-o", plan, "--int8", "--max-error", "1e-9")
    assert done.returncode == 3 and "bound" in done.stderr


def test_layers_by_name(tmp_path):
    report = build(SENTIMENT, tmp_path / "a.plan", "--int8", "--keep-fp32", "*layer.0*")["precision"]
    kept = [layer for layer in report["layers"] if "layer.0" in layer["name"]]
    assert kept and all(layer["type"] == "fp32" for layer in kept)
    assert build(SENTIMENT, tmp_path / "b.plan", "--int8", "--keep-fp32", "*", status=3)["precision"]["met"] is False
    flags = ["--layer-type", "*layer.0*:int8", "--keep-fp32", "*layer.0*output*"]
    types = {layer["name"]: layer["type"] for layer in build(SENTIMENT, tmp_path / "c.plan", *flags)["precision"]["layers"]}
    assert types and all(type == ("fp32" if "output" in name else "int8") for name, type in types.items())


def test_the_calibration_cache_is_read_again(tmp_path):
    cache = tmp_path / "ranges.json"
    flags = ["--int8", "--activations", "per-tensor", "--calib-cache", cache]
    build(SENTIMENT, tmp_path / "a.plan", *flags)
    ranges = json.loads(cache.read_text())
    assert len(ranges["ranges"]) > 20 and ranges["calibrator"] == "mse"
    before = cache.read_bytes()
    build(SENTIMENT, tmp_path / "b.plan", *flags)
    assert cache.read_bytes() == before
    assert (tmp_path / "a.plan").read_bytes() == (tmp_path / "b.plan").read_bytes()
    assert "'mse'" in lathe_fails("build", SENTIMENT, "-o", tmp_path / "c.plan", *flags, "--calibrator", "entropy")
    assert "another model" in lathe_fails("build", FILL_MASK, "-o", tmp_path / "c.plan", *flags)
    assert cache.read_bytes() == before


def test_made_up_inputs_are_named(tmp_path):
    report = lathe_json("build", SENTIMENT, "-o", tmp_path / "a.plan", "--int8")["precision"]
    assert report["made_up_inputs"]


def test_wrong_calls(tmp_path):
    plan = tmp_path / "a.plan"
    assert "no layer" in lathe_fails("build", SENTIMENT, "-o", plan, "--int8", "--keep-fp32", "nobody*")
    assert "PATTERN:TYPE" in lathe_fails("build", SENTIMENT, "-o", plan, "--int8", "--layer-type", "a:fp7")
    assert "no such" in lathe_fails("build", SENTIMENT, "-o", plan, "--int8", "--calib", tmp_path / "absent")
    (tmp_path / "empty.txt").write_text("\n\n")
    assert "no text" in lathe_fails("build", SENTIMENT, "-o", plan, "--int8", "--calib", tmp_path / "empty.txt")
    assert not plan.exists()


def test_quantize_writes_a_model_for_other_runtimes(tmp_path):
    out = tmp_path / "int8.onnx"
    report = lathe_json("quantize", SENTIMENT, out, "--calib", TEXTS, "--calibrator", "min-max")
    assert len(report["layers"]) > 30 and report["outputs"][0]["cosine"] > 0.99
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    ops = [node.op_type for node in model.graph.node]
    assert ops.count("QuantizeLinear") > 10 and out.stat().st_size < SENTIMENT.stat().st_size
    inputs = {name: numpy.full((1, 6), value) for name, value in
              (("input_ids", 700), ("attention_mask", 1), ("token_type_ids", 0))}
    before, after = (onnxruntime.InferenceSession(path).run(None, inputs)[0] for path in (SENTIMENT, out))
    assert after == pytest.approx(before, abs=0.5) and (after != before).all()
    kept = lathe_json("quantize", SENTIMENT, out, "--calib", TEXTS, "--keep", "*layer.0*")["layers"]
    assert len(kept) < len(report["layers"]) and not any("layer.0" in name for name in kept)
    assert "matches" in lathe_fails("quantize", SENTIMENT, out, "--keep", "nobody*")
    assert "overwrite" in lathe_fails("quantize", SENTIMENT, SENTIMENT)
