"""The command line on a GPU: the emulated one of the tests, which can be too old, too small, or lost."""

import os
import pathlib
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from cli import LATHE, ROOT, lathe, lathe_fails, lathe_json, lathe_ok

EMULATED = LATHE.parent / "tests" / "emulated_gpu"
COMPILERS = sorted({str(path.parent) for folder in sys.path
                    for path in pathlib.Path(folder).glob("nvidia/*/lib/libnvrtc.so.13")})
ZOO = ROOT / "tests" / "data" / "zoo"
MODEL = ZOO / "bert-masklm" / "model.onnx"
SMALL = ["--shape", "*:1x8"]

pytestmark = pytest.mark.skipif(not (EMULATED / "libcuda.so.1").is_file() or not COMPILERS,
                                reason="the emulated GPU is not built, or NVRTC is not installed")


@pytest.fixture(scope="module", name="gpu")
def emulated_gpu(tmp_path_factory):
    """Options of a call: gpu() is what kernels were tested on, gpu("arch=75") another one."""
    cache = tmp_path_factory.mktemp("cache")
    paths = ":".join([str(EMULATED), *COMPILERS])

    def options(settings=""):
        return {"env": {**os.environ, "LD_LIBRARY_PATH": paths, "XDG_CACHE_HOME": str(cache),
                        "LATHE_EMULATED_GPU": settings}}
    return options


@pytest.fixture(scope="module", name="plan")
def gpu_plan(tmp_path_factory, gpu):
    plan = tmp_path_factory.mktemp("plans") / "model.plan"
    lathe_ok("build", MODEL, "-o", plan, "--device", "cuda", **gpu())
    return plan


def test_devices_are_compared(gpu):
    found = lathe_json("compare", MODEL, "--against", "cpu,cuda,cuda:0", *SMALL, **gpu())
    assert [run["device"] for run in found["against"]] == ["cpu", "cuda", "cuda:0"]


def test_the_build_tells_where_runs_wait(tmp_path, gpu):
    waits = [lathe_json("build", ZOO / name / "model.onnx", "-o", tmp_path / "x.plan", "--device", "cuda", **gpu())["waits"]
             for name in ("bert-masklm", "boolean-indexing", "if-loop")]
    assert waits[0] == {"sizes": 0, "conditions": 0, "fallbacks": 0, "growing_values": 0}
    assert waits[1]["sizes"] > 0 and waits[1]["growing_values"] > waits[1]["sizes"] and waits[1]["conditions"] == 0
    assert waits[2]["conditions"] == 2 and waits[2]["sizes"] == 0


def test_graphs_change_nothing(tmp_path, gpu, plan):
    runs = []
    for flag in ("--capture-graph", "--no-graph"):
        lathe_ok("run", plan, *SMALL, "--device", "cuda:0", flag, "-o", tmp_path / "x.npz", **gpu())
        runs.append(np.load(tmp_path / "x.npz")["out:logits"])
    assert np.array_equal(*runs)


def test_a_plan_of_another_gpu_is_lowered_again(gpu, plan):
    done = lathe("compare", MODEL, plan, *SMALL, "--device-b", "cuda", **gpu("arch=86"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "was made for cuda (sm_80); lowered again for cuda (sm_86)" in done.stderr


def test_a_plan_of_a_bigger_gpu_runs_what_fits(tmp_path, gpu):
    plan = tmp_path / "big.plan"
    lathe_ok("build", MODEL, "-o", plan, "--device", "cuda", "--profile", "*:1x8:1x8:100000x64", **gpu())
    small = gpu("memory_mb=24")
    assert lathe("compare", MODEL, plan, *SMALL, "--device-b", "cuda", **small).returncode == 0
    error = lathe_fails("run", plan, "--shape", "*:100000x64", "--device", "cuda", **small)
    assert "not enough memory for" in error and "[100000, 64]" in error and "Use smaller sizes" in error


@pytest.mark.parametrize(("settings", "complaint"), [
    ("arch=75", "is of architecture sm_75; Lathe needs sm_80 (Ampere) or newer. Use --device cpu"),
    ("driver=12020", "The driver is older than the compiler of the kernel: update the driver"),
    ("memory_mb=0", "out of memory"),
])
def test_gpus_that_cannot_run_it(gpu, plan, settings, complaint):
    assert complaint in lathe_fails("run", plan, *SMALL, "--device", "cuda", **gpu(settings))


def test_a_lost_gpu(gpu, plan):
    done = lathe("run", plan, *SMALL, "--device", "cuda", **gpu("lost_after=10"))
    assert done.returncode == 70 and "The GPU has lost the state of this process: start it again" in done.stderr


def test_devices_say_what_is_too_old(gpu):
    report = lathe_json("devices", **gpu("arch=75 driver=12020"))
    assert report["cuda"][0]["usable"] is False and report["cuda"][0]["arch"] == "sm_75"
    libraries = {library["name"]: library for library in report["libraries"]}
    assert libraries["driver"]["version"] == "CUDA 12.2"
    assert "newer than the driver" in libraries["NVRTC"]["remedy"]
    assert lathe_json("devices", **gpu())["libraries"][1]["remedy"] == ""


def test_what_overflows_in_f16_stays_in_f32(tmp_path, gpu):
    """The classic: a LayerNorm spelled with Pow, whose operand is beyond f16. The model must build, and agree."""
    model = onnx.load(MODEL)
    bias = next(i for i in model.graph.initializer if i.name.endswith("0.attention.output.dense.bias"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * np.float32(5e5), bias.name))
    assert any(node.op_type == "Pow" for node in model.graph.node)
    onnx.save(model, tmp_path / "model.onnx")
    plan = tmp_path / "model.plan"
    np.savez(tmp_path / "calib.npz", input_ids=np.arange(32).reshape(2, 16), token_type_ids=np.zeros((2, 16), np.int64),
             attention_mask=np.ones((2, 16), np.int64))
    report = lathe_json("build", tmp_path / "model.onnx", "-o", plan, "--fp16", "--device", "cuda", "--calib",
                        tmp_path / "calib.npz", **gpu())["precision"]
    pinned = {layer["op"]: layer for layer in report["layers"] if "overflows in fp16" in layer["reason"]}
    assert "norm" in pinned and pinned["norm"]["type"] == "fp32"
    assert sum(layer["type"] == "fp16" for layer in report["layers"]) > 10
    lathe_ok("compare", tmp_path / "model.onnx", plan, "--device-b", "cuda", "--shape", "*:2x16", "--atol", "0.02", **gpu())
