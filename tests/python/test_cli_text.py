"""classify and fill-mask against the answers that the reference implementation gave."""

import json
import shutil

import pytest

from cli import REVIEWS, lathe_fails, lathe_json, lathe_ok

EXPECTED = json.loads((REVIEWS / "expected.json").read_text())


def test_classify():
    texts = [case["text"] for case in EXPECTED["sentiment"]]
    answers = lathe_json("classify", REVIEWS / "sentiment", *texts)
    for case, answer in zip(EXPECTED["sentiment"], answers, strict=True):
        assert answer["text"] == case["text"]
        assert answer["probabilities"]["negative"] == pytest.approx(case["probabilities"][0], abs=1e-3)
        assert answer["label"] == ("negative" if case["probabilities"][0] > 0.5 else "positive")


def test_lines_of_standard_input():
    texts = [case["text"] for case in EXPECTED["sentiment"]]
    answers = lathe_json("classify", REVIEWS / "sentiment", stdin="\n".join(texts) + "\n\n")
    assert [answer["text"] for answer in answers] == texts
    assert lathe_json("classify", REVIEWS / "sentiment", stdin="") == []
    lines = lathe_ok("classify", REVIEWS / "sentiment", stdin=texts[0] + "\r\n").splitlines()
    assert len(lines) == 1 and lines[0].startswith("negative") and lines[0].endswith(texts[0])


def test_fill_mask():
    texts = [case["text"] for case in EXPECTED["fill-mask"]]
    answers = lathe_json("fill-mask", REVIEWS / "fill-mask", *texts)
    for case, answer in zip(EXPECTED["fill-mask"], answers, strict=True):
        (mask,) = answer["masks"]
        assert mask["position"] == case["ids"].index(4)
        found = [(c["token"], c["probability"]) for c in mask["candidates"]]
        assert len(found) == 10
        for (token, probability), (expected_token, expected) in zip(found, case["top10"], strict=True):
            assert probability == pytest.approx(expected, abs=2e-3)
            if expected > 0.01:
                assert token == expected_token


def test_several_masks_and_top():
    (answer,) = lathe_json("fill-mask", REVIEWS / "fill-mask", "房间很[MASK][MASK]。", "--top", 3)
    assert [len(mask["candidates"]) for mask in answer["masks"]] == [3, 3]
    assert "[MASK]" in lathe_fails("fill-mask", REVIEWS / "fill-mask", "没有")


def test_a_folder_with_a_plan_a_bare_vocabulary_and_no_labels(tmp_path, sentiment_plan):
    tokenizer = json.loads((REVIEWS / "sentiment" / "tokenizer.json").read_text())
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in vocabulary))
    shutil.copy(sentiment_plan, tmp_path / "any-name.plan")
    case = EXPECTED["sentiment"][0]
    (answer,) = lathe_json("classify", tmp_path, case["text"])
    assert answer["label"] == "0" and answer["probability"] == pytest.approx(case["probabilities"][0], abs=1e-3)
    (tmp_path / "labels.txt").write_text("bad\ngood\n")
    (answer,) = lathe_json("classify", tmp_path, case["text"], "--no-lowercase")
    assert answer["label"] == "bad"


def test_long_texts_are_cut():
    (answer,) = lathe_json("classify", REVIEWS / "sentiment", "很好" * 2000)
    assert 0 <= answer["probability"] <= 1


def test_folders_that_will_not_do(tmp_path):
    assert "no such folder" in lathe_fails("classify", tmp_path / "gone", "x")
    assert ".onnx" in lathe_fails("classify", tmp_path, "x")
    shutil.copy(REVIEWS / "sentiment" / "model.onnx", tmp_path / "model.onnx")
    assert "tokenizer.json" in lathe_fails("classify", tmp_path, "x")
