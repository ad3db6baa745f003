"""lathe trtexec, as scripts written for trtexec call it and read what it prints."""

import json
import re

import numpy as np
import pytest

from cli import LATHE, ROOT, SENTIMENT, lathe, lathe_ok

QUICK = ["--device=cpu", "--iterations=3", "--duration=0", "--warmUp=0"]


def test_report_can_be_parsed(tmp_path):
    plan = tmp_path / "s.plan"
    done = lathe("trtexec", f"--onnx={SENTIMENT}", "--shapes=input_ids:2x16", f"--saveEngine={plan}", *QUICK)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("&&&& RUNNING TensorRT.trtexec [Lathe v")
    assert lines[-1].startswith("&&&& PASSED TensorRT.trtexec [Lathe v") and f"--onnx={SENTIMENT}" in lines[-1]
    assert all(re.match(r"\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\] \[I\] ", line) for line in lines[1:-1])
    throughput = float(re.search(r"Throughput: ([0-9.e+]+) qps", done.stdout).group(1))
    latency = re.search(r"\] Latency: min = (\S+) ms, max = (\S+) ms, mean = (\S+) ms, median = (\S+) ms, "
                        r"percentile\(90%\) = (\S+) ms, percentile\(95%\) = (\S+) ms, percentile\(99%\) = (\S+) ms",
                        done.stdout)
    low, high, mean = (float(latency.group(i)) for i in (1, 2, 3))
    assert throughput > 0 and 0 < low <= mean <= high
    for metric in ("Enqueue Time", "H2D Latency", "GPU Compute Time", "D2H Latency"):
        assert f"] {metric}: min = " in done.stdout
    again = lathe_ok("trtexec", f"--loadEngine={plan}", *QUICK)
    assert "with dimensions 2x16" in again, "the profile's usual sizes"


def test_exports(tmp_path):
    files = {name: tmp_path / f"{name}.json" for name in ("Times", "Output", "Profile", "LayerInfo")}
    ids = np.array([[101, 2769, 102, 0]], dtype=np.int64)
    ids.tofile(tmp_path / "ids.bin")
    lathe_ok("trtexec", f"--onnx={SENTIMENT}", "--shapes=input_ids:1x4", f"--loadInputs=input_ids:{tmp_path / 'ids.bin'}",
             *[f"--export{name}={path}" for name, path in files.items()], "--profilingVerbosity=detailed", *QUICK)
    times, output, profile, layers = (json.loads(path.read_text()) for path in files.values())
    assert len(times) == 3 and set(times[0]) == {
        "startEnqMs", "endEnqMs", "startH2dMs", "endH2dMs", "startComputeMs", "endComputeMs", "startD2hMs", "endD2hMs",
        "h2dMs", "computeMs", "d2hMs", "latencyMs"}
    assert output[0]["name"] == "logits" and output[0]["dimensions"] == "1x2" and len(output[0]["values"]) == 2
    assert profile[0]["count"] >= 5 and len(profile) == len(layers["Layers"]) + 1
    assert sum(layer["percentage"] for layer in profile[1:]) == pytest.approx(100)
    assert {"Name", "LayerType", "Inputs", "Outputs", "TacticName"} <= set(layers["Layers"][0])
    assert layers["I/O Tensors"][0]["IOMode"] == "Input" and layers["I/O Tensors"][0]["ProfileInfo"]


def test_flags_of_old_guides():
    done = lathe("trtexec", f"--onnx={SENTIMENT}", "--workspace=4096", "--explicitBatch", "--best", "--buildOnly",
                 "--device=cpu")
    assert done.returncode == 0, done.stderr
    assert "--workspace has no effect: Memory" in done.stdout and "--explicitBatch has no effect" in done.stdout
    assert "Accuracy of logits: cosine 0.999" in done.stdout or "Accuracy of logits: cosine 1.0" in done.stdout
    assert "Performance summary" not in done.stdout and "&&&& PASSED" in done.stdout


def test_two_profiles_in_order(tmp_path):
    plan = tmp_path / "p.plan"
    lathe_ok("trtexec", f"--onnx={SENTIMENT}", "--minShapes=*:1x1", "--optShapes=*:1x8", "--maxShapes=*:1x16",
             "--profile=1", "--optShapes=*:4x32", f"--saveEngine={plan}", "--skipInference", "--device=cpu")
    out = lathe_ok("trtexec", f"--loadEngine={plan}", "--useProfile=1", "--dumpOptimizationProfile", *QUICK)
    assert "with dimensions 4x32" in out and "Profile 0: input_ids: min 1x1, opt 1x8, max 1x16" in out


@pytest.mark.parametrize("arguments, complaint", [
    (["--deploy=net.prototxt"], "no model"),
    (["--onxn=x"], "Did you mean '--onnx'?"),
    ([f"--loadEngine={SENTIMENT}"], "engines of TensorRT cannot be read"),
    ([f"--onnx={SENTIMENT}", "--getPlanVersionOnly"], "Give --loadEngine"),
    ([f"--onnx={SENTIMENT}", "--saveEngine=missing/x.plan"], "missing/x.plan: cannot write"),
    ([f"--onnx={SENTIMENT}", "--iterations=0"], "--iterations"),
    ([f"--onnx={SENTIMENT}", "--shapes=nothing:1"], "no input 'nothing'"),
])
def test_what_fails(arguments, complaint):
    done = lathe("trtexec", *arguments, "--device=cpu")
    assert done.returncode == 2 and complaint in done.stderr
    if arguments[0].startswith("--deploy"):
        assert "caffe2onnx" in done.stdout and "&&&& FAILED TensorRT.trtexec" in done.stdout


def test_falls_back_to_the_cpu_where_there_is_no_gpu():
    done = lathe("trtexec", f"--onnx={SENTIMENT}", "--device=99", "--fp8", *QUICK[1:])
    assert done.returncode == 0 and "runs on the CPU" in done.stderr and "cannot compute in fp8" in done.stderr


def test_a_link_named_trtexec(tmp_path):
    import subprocess
    link = tmp_path / "trtexec"
    link.symlink_to(LATHE)
    done = subprocess.run([link, f"--onnx={SENTIMENT}", "--skipInference", "--device=cpu"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("&&&& RUNNING")


def test_every_flag_is_in_the_documentation():
    text = (ROOT / "docs" / "trtexec.md").read_text()
    flags = set(re.findall(r"(?<![\w-])--\w+", lathe_ok("trtexec", "--help"))) - {"--layers", "--json"}
    assert flags - set(re.findall(r"--\w+", text)) == set()
