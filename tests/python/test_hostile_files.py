"""Damaged models and plans on the command line: an answer or one message, in bounded time and memory."""

import random
import resource

import pytest

from cli import ROOT, lathe, lathe_json

MODELS = [ROOT / "tests" / "data" / "zoo" / name / "model.onnx" for name in ("if-loop", "keras-cnn")]
MEMORY = 4 << 30  # bytes of address space, many times what these models need
SECONDS = 30


@pytest.fixture(scope="module", params=[(m, s) for m in MODELS for s in (".onnx", ".plan")],
                ids=lambda p: p[0].parent.name + p[1])
def original(request, tmp_path_factory):
    model, suffix = request.param
    if suffix == ".onnx":
        return model
    plan = tmp_path_factory.mktemp("plans") / "model.plan"
    lathe_json("build", model, "-o", plan)
    return plan


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def survives(path, content):
    """True if the file still runs; otherwise it must be refused with one message."""
    path.write_bytes(content)
    done = lathe("run", path, timeout=SECONDS, errors="replace", preexec_fn=limit_memory)
    if done.returncode == 0:
        return True
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert done.stderr.count("lathe: error: ") == 1, done.stderr
    return False


def test_truncated(original, tmp_path):
    data = original.read_bytes()
    path = tmp_path / original.name
    assert survives(path, data)
    cuts = [len(data) * i // 25 for i in range(25)]
    assert not any(survives(path, data[:cut]) for cut in cuts)


def test_flipped_bits(original, tmp_path):
    rng = random.Random(original.suffix)
    refused = 0
    for _ in range(60):
        data = bytearray(original.read_bytes())
        for _ in range(rng.choice([1, 1, 4, 16])):
            data[rng.randrange(min(len(data), 1 << 14))] ^= 1 << rng.randrange(8)  # not only weights
        refused += not survives(tmp_path / original.name, data)
    assert refused > 0
