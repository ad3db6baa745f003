#!/usr/bin/env python3
"""Attention of Lathe on a GPU against PyTorch's scaled_dot_product_attention, problem by problem in one run.

  bench/kernels/compare_attention_torch.py --bench build/bench/cuda_attention_bench [PROBLEM ..] [--json FILE]

Problems are BATCHxHEADSxTOKENSxDIM[:kv=N][:causal][:mask=FRACTION]. Both sides read query, key and value from one fused
product, launch the same work many times in a CUDA graph, and are timed by its replays. PyTorch is measured before and
after Lathe with each of its backends that takes the problem; `floor` is the larger of the time that the tensor cores
need at the rate of a large matrix product (measured first) and of the time for bytes at --bandwidth.
"""
import argparse
import json
import statistics
import subprocess
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

PROBLEMS = ["16x16x2048x64", "32x12x384x64", "32x16x384x64", "1x16x384x64", "1x12x128x64", "8x12x128x64", "32x12x128x64",
            "8x16x2048x128", "4x8x2048x256", "8x16x1000x80", "8x16x1000x96", "16x16x2048x64:causal",
            "8x16x2048x128:causal", "4x32x2048x128:kv=8:causal", "32x12x384x64:mask=1", "32x12x384x64:mask=0.5"]
BACKENDS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION,
            "efficient": SDPBackend.EFFICIENT_ATTENTION}


def replay_us(call, launches):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        call()
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(launches):
            call()
    times = []
    for _ in range(10):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1000 / launches)
    return statistics.median(times)


class Problem:
    def __init__(self, text):
        sizes, *options = text.split(":")
        self.batch, self.heads, self.tokens, self.dim = map(int, sizes.split("x"))
        self.kv_heads, self.causal, self.seen = self.heads, "causal" in options, None
        for option in options:
            key, _, value = option.partition("=")
            if key == "kv":
                self.kv_heads = int(value)
            elif key == "mask":
                self.seen = float(value)

    def flops(self):
        return 4 * self.batch * self.heads * self.tokens**2 * self.dim * (0.5 if self.causal else 1)

    def floor_us(self, peak_flops, bandwidth):
        flops = self.flops() * (self.seen or 1)
        moved = 2 * self.batch * self.tokens * self.dim * (2 * self.heads + 2 * self.kv_heads)
        return max(flops / peak_flops, moved / bandwidth) * 1e6

    def torch_us(self):
        fused = torch.randn(self.batch, self.tokens, (self.heads + 2 * self.kv_heads) * self.dim, device="cuda",
                            dtype=torch.half)
        q, k, v = (part.unflatten(-1, (-1, self.dim)).transpose(1, 2) for part in fused.split(
            [self.heads * self.dim, self.kv_heads * self.dim, self.kv_heads * self.dim], dim=-1))
        mask = None
        if self.seen is not None:
            visible = torch.arange(self.tokens, device="cuda") < self.seen * self.tokens
            mask = torch.zeros(self.batch, 1, self.tokens, self.tokens, device="cuda", dtype=torch.half)
            mask = mask.masked_fill(~visible, -torch.inf).expand(-1, self.heads, -1, -1)
        launches = 5 if self.flops() > 5e10 else 20  # as in the other program: short bursts, so that the chip keeps cool
        times = {}
        for name, backend in BACKENDS.items():
            def call():
                with sdpa_kernel(backend):
                    F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal,
                                                   enable_gqa=self.kv_heads != self.heads)
            try:
                times[name] = replay_us(call, launches)
            except RuntimeError:
                torch.cuda.synchronize()
        return times


def measure_peak():
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.half)
    return 2 * 8192**3 / (replay_us(lambda: a @ a, 5) * 1e-6)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", default=PROBLEMS)
    parser.add_argument("--bench", default="build/bench/cuda_attention_bench")
    parser.add_argument("--bandwidth", type=float, default=3.0e12, help="bytes per second")
    parser.add_argument("--json")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")  # that a backend does not take a problem
    rows = []
    with torch.inference_mode():
        peak = measure_peak()
        print(f"{torch.cuda.get_device_name()}; torch {torch.__version__}; f16; peak {peak * 1e-12:.0f} TFLOP/s")
        print("| problem | PyTorch us (backend) | Lathe us | TFLOP/s | ratio | floor us | of the floor | drift |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|")
        for text in args.problems:
            problem = Problem(text)
            before = problem.torch_us()
            done = subprocess.run([args.bench, text], capture_output=True, text=True, check=True)
            ours = json.loads(done.stdout)
            after = problem.torch_us()
            best = min(before, key=before.get)
            floor = problem.floor_us(peak, args.bandwidth)
            rows.append({"problem": text, "torch_us": before, "lathe_us": ours["us"], "floor_us": floor})
            print(f"| {text} | {before[best]:.1f} ({best}) | {ours['us']:.1f} | {ours['tflops']:.0f} | "
                  f"{before[best] / ours['us']:.2f} | {floor:.1f} | {floor / ours['us']:.2f} | "
                  f"{after[best] / before[best]:.2f} |", flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
