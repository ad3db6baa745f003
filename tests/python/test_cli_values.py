"""Strings, sequences, optionals and maps through run, compare and the other commands."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cli import lathe, lathe_fails, lathe_json, lathe_ok

STRING, FLOAT, INT64 = TensorProto.STRING, TensorProto.FLOAT, TensorProto.INT64


def tensor_type(dtype, shape=None):
    return helper.make_tensor_type_proto(dtype, shape)


def save_model(path, nodes, inputs, outputs):
    """`inputs` and `outputs`: types by name."""
    infos = [[helper.make_value_info(name, kind) for name, kind in values.items()] for values in (inputs, outputs)]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", *infos), opset_imports=opsets, ir_version=8), path)
    return path


def write_json(path, value):
    path.write_text(json.dumps(value))
    return path


def answer(model, tmp_path, inputs):
    """The outputs for the inputs, both in JSON."""
    out = tmp_path / "answer.json"
    lathe_ok("run", model, "--input", write_json(tmp_path / "inputs.json", inputs), "-o", out)
    return json.loads(out.read_text())["outputs"]


@pytest.fixture
def classifier(tmp_path):
    """Words with numbers in, a label and scores by label out."""
    nodes = [helper.make_node("DictVectorizer", ["words"], ["row"], domain="ai.onnx.ml",
                              string_vocabulary=["bad", "good"]),
             helper.make_node("LinearClassifier", ["row"], ["label", "scores"], domain="ai.onnx.ml",
                              coefficients=[1.0, 0.0, 0.0, 1.0], intercepts=[0.0, 0.5],
                              classlabels_strings=["no", "yes"]),
             helper.make_node("ZipMap", ["scores"], ["maps"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"])]
    float_map = helper.make_map_type_proto(STRING, tensor_type(FLOAT, []))
    return save_model(tmp_path / "classifier.onnx", nodes, {"words": float_map},
                      {"label": tensor_type(STRING, [None]), "maps": helper.make_sequence_type_proto(float_map)})


def test_maps(tmp_path, classifier):
    assert answer(classifier, tmp_path, {"words": {"good": 2, "other": 7}}) == {
        "label": ["yes"], "maps": [{"no": 0, "yes": 2.5}]}
    assert answer(classifier, tmp_path, {"words": {"bad": 0.1}})["maps"] == [{"no": 0.1, "yes": 0.5}]
    assert '"no": 0.100, "yes": 0.500' in lathe_ok("run", classifier, "--input", tmp_path / "inputs.json")
    words = write_json(tmp_path / "words.json", {"bad": 3})
    out = tmp_path / "out.npz"
    lathe_ok("run", classifier, "--input", f"words={words}", "-o", out)
    arrays = np.load(out)
    assert arrays["in:words.keys"].tolist() == ["bad"] and arrays["out:label"].tolist() == ["no"]
    assert arrays["out:maps.keys"].tolist() == ["no", "yes"] and arrays["out:maps.values"].tolist() == [[3, 0.5]]
    plan = tmp_path / "classifier.plan"
    lathe_ok("build", classifier, "-o", plan)
    for model in (classifier, plan):
        assert lathe_json("compare", out, model)["passed"]
        lathe_ok("bench", model, "--iterations", 1, "--warmup", 0, "--no-data-transfers")
    lathe_ok("inspect", classifier)


def test_map_inputs_that_do_not_fit(tmp_path, classifier):
    for inputs, complaint in (({"words": [1]}, "input 'words': a map is an object"), ({"words": {"a": "b"}}, "f32"),
                              ({"word": {}}, "no such input"), (["words"], "no object")):
        write_json(tmp_path / "inputs.json", inputs)
        assert complaint in lathe_fails("run", classifier, "--input", tmp_path / "inputs.json")
    (tmp_path / "inputs.json").write_text("{")
    assert "no JSON" in lathe_fails("run", classifier, "--input", tmp_path / "inputs.json")


def test_strings(tmp_path):
    model = save_model(tmp_path / "strings.onnx", [helper.make_node("Identity", ["x"], ["y"])],
                       {"x": tensor_type(STRING, ["n", 2])}, {"y": tensor_type(STRING, ["n", 2])})
    texts = [["", "é"], ["a longer text, with \"quotes\"", "1"]]
    assert answer(model, tmp_path, {"x": texts}) == {"y": texts}
    np.save(tmp_path / "x.npy", np.array(texts))
    out = tmp_path / "out.npz"
    report = lathe_json("run", model, "--input", f"x={tmp_path}/x.npy", "-o", out)
    assert report["outputs"] == [{"name": "y", "type": "string", "shape": [2, 2]}]
    assert np.load(out)["out:y"].tolist() == texts
    assert lathe_json("compare", out, model)["passed"]
    assert lathe_json("run", model, "--dim", "n=3")["inputs"][0]["shape"] == [3, 2]
    assert "no tensor of numbers" in lathe("trtexec", f"--onnx={model}", "--shapes=x:1x2").stderr


@pytest.fixture
def inserting(tmp_path):
    sequence = helper.make_sequence_type_proto(tensor_type(FLOAT))
    return save_model(tmp_path / "insert.onnx", [helper.make_node("SequenceInsert", ["list", "x"], ["longer"])],
                      {"list": sequence, "x": tensor_type(FLOAT, ["n"])}, {"longer": sequence})


def test_sequences(tmp_path, inserting):
    assert answer(inserting, tmp_path, {"list": [[[1, 2]], 3], "x": [4]}) == {"longer": [[[1, 2]], 3, [4]]}
    assert answer(inserting, tmp_path, {"list": [], "x": [4, "nan", "-inf"]}) == {"longer": [[4, "nan", "-inf"]]}
    np.save(tmp_path / "a.npy", np.float32([1, 2]))
    np.save(tmp_path / "b.npy", np.float32([[3]]))
    first, second = f"list.0={tmp_path}/a.npy", f"list.1={tmp_path}/b.npy"
    out, shorter = tmp_path / "out.npz", tmp_path / "shorter.npz"
    lathe_ok("run", inserting, "--input", first, "--input", second, "--dim", "n=1", "-o", out)
    arrays = np.load(out)
    assert arrays["out:longer.length"] == 3
    assert arrays["out:longer.0"].tolist() == [1, 2] and arrays["out:longer.1"].tolist() == [[3]]
    assert (arrays["out:longer.2"] == arrays["in:x"]).all()
    assert lathe_json("compare", out, inserting)["passed"]
    lathe_ok("run", inserting, "--input", first, "--dim", "n=1", "-o", shorter)
    report = lathe_json("compare", out, shorter, status=1)
    assert {entry["name"]: entry["passed"] for entry in report["outputs"]} == {
        "longer.0": True, "longer.1": False, "longer.2": False, "longer.length": False}
    assert "its data cannot be made up" in lathe_fails("run", inserting)
    assert "'list'" in lathe_fails("run", inserting, "--input", second)


def test_optionals(tmp_path):
    kind = helper.make_optional_type_proto(tensor_type(FLOAT, [2]))
    model = save_model(tmp_path / "optional.onnx",
                       [helper.make_node("OptionalHasElement", ["x"], ["has"]),
                        helper.make_node("Identity", ["x"], ["same"])],
                       {"x": kind}, {"has": tensor_type(TensorProto.BOOL, []), "same": kind})
    assert answer(model, tmp_path, {"x": [1, 2]}) == {"has": True, "same": [1, 2]}
    assert answer(model, tmp_path, {"x": None}) == {"has": False, "same": None}
    assert lathe_json("run", model)["outputs"][0]["name"] == "has"
