#!/usr/bin/env python3
"""Latency of Lathe on a GPU against PyTorch, model by model in one run; the models have random weights at real size.

  bench/models/compare_torch.py --lathe build/lathe [--models bert-base,bert-large,resnet50] [--sizes 1x128,32x384]
      [--dtype fp16] [--onnx-dtype fp32 --build=--fp16 --build='--int8 --fp16'] [--json FILE]

For each model and size: PyTorch eager, PyTorch replayed as a CUDA graph, and torch.compile where --compile is given (it
takes minutes), the best of which counts; then Lathe, tuned for the size, on the same weights, exported to ONNX; then
PyTorch again, to see how far the clock drifted. Each --build is measured: flags for `lathe build`, which chooses types of
layers itself where the ONNX file is of fp32; how long it took is printed, too. Times are of the device alone (events); for Lathe also of whole runs,
with inputs and outputs copied. Needs torch, transformers, timm, onnx.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

SIZES = {"bert-base": [(1, 128), (1, 200), (8, 128), (32, 128), (128, 128)],
         "bert-large": [(1, 128), (1, 384), (32, 384), (128, 384)],
         "resnet50": [(1,), (32,), (128,)]}
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def bert(hidden, layers, heads, dtype):
    from transformers import BertConfig, BertModel
    config = BertConfig(hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                        intermediate_size=4 * hidden, attn_implementation="sdpa")
    return BertModel(config, add_pooling_layer=False).to("cuda", dtype).eval()


def make_model(name, dtype):
    torch.manual_seed(0)
    if name == "bert-base":
        return bert(768, 12, 12, dtype)
    if name == "bert-large":
        return bert(1024, 24, 16, dtype)
    import timm
    return timm.create_model("resnet50").to("cuda", dtype).eval()


def example(name, size, dtype):
    if name.startswith("bert"):
        return {"input_ids": torch.randint(0, 30000, size, device="cuda")}
    return {"x": torch.randn(*size, 3, 224, 224, device="cuda", dtype=dtype)}


def export(name, model, dtype, path):
    inputs = example(name, SIZES[name][0], dtype)
    dynamic = {key: {0: "batch", 1: "sequence"} if name.startswith("bert") else {0: "batch"} for key in inputs}
    torch.onnx.export(model, tuple(inputs.values()), str(path), input_names=list(inputs), output_names=["y"],
                      dynamic_axes={**dynamic, "y": {0: "batch"}}, opset_version=17, dynamo=False)


def median_ms(call, runs=30, warm=5):
    for _ in range(warm):
        call()
    torch.cuda.synchronize()
    times = []
    for _ in range(runs):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def torch_ms(model, inputs, compiled):
    """Of each way to run it that works."""
    values = list(inputs.values())
    with torch.inference_mode():
        result = {"eager": median_ms(lambda: model(*values))}
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            model(*values)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            model(*values)
        result["graph"] = median_ms(graph.replay)
        if compiled:
            torch._dynamo.reset()
            fast = torch.compile(model, mode="max-autotune", dynamic=False)
            result["compile"] = median_ms(lambda: fast(*values))
    return result


def lathe_ms(lathe, path, inputs, flags):
    """Of the device alone, and of whole runs; seconds of the build."""
    plan = path.with_suffix(".plan")
    shapes = []
    for value in inputs.values():  # each model has one
        shapes += ["--shape", f"*:{'x'.join(map(str, value.shape))}"]
    start = time.monotonic()
    for command in (["build", str(path), "-o", str(plan), *flags], ["bench", str(plan), "--duration", "1"]):
        built = time.monotonic() - start
        done = subprocess.run([lathe, *command, *shapes, "--device", "cuda", "--json"], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip()[:500])
    plan.unlink()
    measured = json.loads(done.stdout)
    return measured["device_ms"]["compute"], measured["latency_ms"]["median"], built


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lathe", default="build/lathe")
    parser.add_argument("--models", default=",".join(SIZES))
    parser.add_argument("--sizes", help="of those that each model is measured at; all if absent")
    parser.add_argument("--dtype", default="fp16", choices=DTYPES)
    parser.add_argument("--onnx-dtype", choices=DTYPES, help="of what Lathe reads; default: as PyTorch computes")
    parser.add_argument("--build", action="append", help="flags for `lathe build`; repeatable")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--models-from", help="folder of NAME-DTYPE.onnx, instead of exporting")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    print(f"{torch.cuda.get_device_name()}; torch {torch.__version__}; {args.dtype}")
    print(f"{'model':12s} {'size':>10s} {'eager':>9s} {'graph':>9s} {'compile':>9s} {'Lathe':>9s} {'whole':>9s} {'ratio':>6s} {'drift':>6s} {'build s':>8s}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models.split(","):
            dtype, path = DTYPES[args.dtype], Path(folder) / f"{name}.onnx"
            model = make_model(name, dtype)
            if name == "resnet50":
                model = model.to(memory_format=torch.channels_last)
            if args.models_from:
                path = Path(args.models_from) / f"{name}-{args.onnx_dtype or args.dtype}.onnx"
            else:
                exported = DTYPES[args.onnx_dtype or args.dtype]
                export(name, model.to(exported), exported, path)
                model = model.to(dtype)
            for size in SIZES[name]:
                if args.sizes and "x".join(map(str, size)) not in args.sizes.split(","):
                    continue
                inputs = example(name, size, dtype)
                peer = torch_ms(model, inputs, args.compile)
                best = min(peer.values())
                results = []
                for flags in args.build or [""]:
                    try:
                        results.append((flags, *lathe_ms(args.lathe, path, inputs, flags.split())))
                    except RuntimeError as error:
                        print(f"{name:12s} {'x'.join(map(str, size)):>10s} {flags} {error}", file=sys.stderr)
                drift = min(torch_ms(model, inputs, False).values()) / min(peer["eager"], peer["graph"])
                for flags, ours, whole, built in results:
                    rows.append({"model": name, "size": size, "build": flags, "torch_ms": peer, "lathe_ms": ours,
                                 "whole_ms": whole, "ratio": best / ours, "drift": drift, "build_s": built})
                    print(f"{name:12s} {'x'.join(map(str, size)):>10s} {peer['eager']:9.3f} {peer['graph']:9.3f} "
                          f"{peer.get('compile', float('nan')):9.3f} {ours:9.3f} {whole:9.3f} {best / ours:6.2f} {drift:6.2f} "
                          f"{built:8.1f} {flags}", flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps({"device": torch.cuda.get_device_name(), "dtype": args.dtype,
                                               "torch": torch.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
