"""Encoders straight from their checkpoint folders: every command that takes a model takes the folder."""

import numpy as np
import pytest

from cli import MODELS, ROOT, lathe_fails, lathe_json, lathe_ok

BERT = ROOT / "tests" / "data" / "checkpoints" / "bert-masked-lm"


@pytest.fixture(scope="module")
def golden():
    return np.load(BERT / "golden.npz")


def write_inputs(path, ids):
    np.savez(path, input_ids=ids, attention_mask=np.ones_like(ids), token_type_ids=np.zeros_like(ids))
    return path


def test_a_folder_runs_and_builds_like_a_model(tmp_path, golden):
    ids = golden["prompt_0"].reshape(1, -1).astype(np.int64)
    inputs = write_inputs(tmp_path / "in.npz", ids)
    lathe_ok("build", BERT, "-o", tmp_path / "bert.plan")
    for model in (BERT, tmp_path / "bert.plan"):
        lathe_ok("run", model, "--input", inputs, "-o", tmp_path / "out.npz")
        logits = np.load(tmp_path / "out.npz")["out:logits"]
        assert logits.shape == (1, ids.shape[1], logits.shape[2])
        assert np.isfinite(logits).all()
    inspected = lathe_json("inspect", BERT)
    assert inspected["kind"] == "checkpoint"
    assert [tensor["name"] for tensor in inspected["inputs"]][:2] == ["input_ids", "attention_mask"]


def test_the_logits_are_the_references(tmp_path, golden):
    ids = golden["prompt_1"].reshape(1, -1).astype(np.int64)
    inputs = tmp_path / "in.npz"
    np.savez(inputs, input_ids=ids, attention_mask=np.ones_like(ids),
             token_type_ids=golden["token_type_ids_1"].reshape(1, -1).astype(np.int64))
    lathe_ok("run", BERT, "--input", inputs, "-o", tmp_path / "out.npz")
    expected = golden["logits_1"]
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["out:logits"].reshape(expected.shape), expected, rtol=1e-3,
                               atol=1e-3)


def test_a_language_model_is_sent_where_it_runs():
    assert "lathe generate" in lathe_fails("run", MODELS / "poem-bloom")
