#!/usr/bin/env python3
"""Latency of Lathe against ONNX Runtime on the same files, in turns, so that a drifting clock hits both alike.

  bench/models/compare_onnxruntime.py --lathe build/lathe MODEL.onnx[@INPUT=1x128,INPUT=1x128] ...
  bench/models/compare_onnxruntime.py --lathe build/lathe --plan INT8.plan DYNAMIC.onnx@..    each its own form of one model
  bench/models/compare_onnxruntime.py --lathe build/lathe --zoo DIR      every DIR/NAME/model.onnx, sizes of its case_0.npz

Needs the packages onnxruntime and numpy. Prints a table and, with --json FILE, writes what it measured.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

NUMPY_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
               "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_, "tensor(uint8)": np.uint8}


def random_inputs(session, shapes):
    """Ids below 5000 (any vocabulary has that many, or the model is a toy), masks of ones, floats normal(0, 1)."""
    rng = np.random.default_rng(0)
    inputs = {}
    for info in session.get_inputs():
        shape = shapes.get(info.name, [d if isinstance(d, int) else 1 for d in info.shape])
        dtype = NUMPY_TYPES[info.type]
        if np.issubdtype(dtype, np.floating):
            inputs[info.name] = rng.standard_normal(shape).astype(dtype)
        elif "mask" in info.name or dtype == np.bool_:
            inputs[info.name] = np.ones(shape, dtype)
        elif "type" in info.name or "segment" in info.name:
            inputs[info.name] = np.zeros(shape, dtype)
        else:
            inputs[info.name] = rng.integers(5, 5000, shape).astype(dtype)
    return inputs


def onnxruntime_ms(session, inputs, seconds):
    for _ in range(3):
        session.run(None, inputs)
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        session.run(None, inputs)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def lathe_ms(lathe, path, inputs, threads, seconds):
    command = [lathe, "bench", path, "--threads", str(threads), "--duration", str(seconds), "--json"]
    for name, array in inputs.items():
        command += ["--shape", f"{name}:{'x'.join(map(str, array.shape))}" if array.ndim else f"{name}:scalar"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)["latency_ms"]["median"]


def parse_model(argument):
    path, _, sizes = argument.partition("@")
    shapes = {}
    for part in filter(None, sizes.split(",")):
        name, _, shape = part.partition("=")
        shapes[name] = [int(d) for d in shape.split("x")]
    return Path(path).stem + (f" {sizes.split(',')[0].partition('=')[2]}" if sizes else ""), path, shapes, None


def zoo_models(folder):
    for model in sorted(Path(folder).glob("*/model.onnx")):
        case = model.parent / "case_0.npz"
        with np.load(case) as arrays:
            inputs = {name[3:]: arrays[name] for name in arrays.files if name.startswith("in:")}
        yield model.parent.name, str(model), {}, inputs


def measure(name, path, shapes, inputs, args):
    options = ort.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.log_severity_level = 3  # errors only
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    if inputs is None:
        inputs = random_inputs(session, shapes)
    rival, ours = [], []
    for _ in range(args.rounds):
        rival.append(onnxruntime_ms(session, inputs, args.seconds))
        ours.append(lathe_ms(args.lathe, args.plan or path, inputs, args.threads, args.seconds))
    row = {"model": name, "onnxruntime_ms": statistics.median(rival), "lathe_ms": statistics.median(ours),
           "ratio": statistics.median(r / o for r, o in zip(rival, ours))}
    print(f"{name:32s} {row['onnxruntime_ms']:10.3f} {row['lathe_ms']:10.3f} {row['ratio']:7.2f}", flush=True)
    return row


def machine():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()}, {os.cpu_count()} CPUs, {platform.system()} {platform.machine()}"
    return platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--lathe", default="build/lathe")
    parser.add_argument("--plan", help="what Lathe runs instead of the files")
    parser.add_argument("--zoo")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json")
    args = parser.parse_args()
    models = [parse_model(m) for m in args.models] + (list(zoo_models(args.zoo)) if args.zoo else [])
    print(f"{machine()}; {args.threads} threads; onnxruntime {ort.__version__}\n"
          f"{'model':32s} {'ORT ms':>10s} {'Lathe ms':>10s} {'ratio':>7s}", flush=True)
    rows = []
    for model in models:
        try:
            rows.append(measure(*model, args))
        except Exception as error:  # one model that a side cannot run must not lose the rest of the table
            print(f"{model[0]:32s} {str(error).splitlines()[0][:120]}", file=sys.stderr, flush=True)
    if rows:
        print(f"median ratio over {len(rows)} models: {statistics.median(row['ratio'] for row in rows):.2f}")
    if args.json:
        result = {"machine": machine(), "threads": args.threads, "onnxruntime": ort.__version__, "rows": rows}
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
