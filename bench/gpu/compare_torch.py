#!/usr/bin/env python3
"""Lathe on a GPU against PyTorch, figure by figure in one run; the models have random weights at real size.

  bench/gpu/compare_torch.py --lathe build/lathe [--figures latency,lengths,dynamic,bytes,build]
      [--models bert-base,bert-large,resnet50] [--sizes 1x128,32x384] [--compile layers] [--json FILE]

latency  PyTorch eager, replayed as a CUDA graph, and compiled (--compile), the best of which counts; then Lathe, tuned
         for the size; then PyTorch again, to see how far the clock drifted.
lengths  A classifier over batches padded to a length that texts reach by half on average, and over full ones: PyTorch
         pads (its mask given); Lathe pads, and leaves padding out.
dynamic  One plan for 1x1 to 20x512 run at 1x200, beside a plan for 1x200 alone.
bytes    BERT-large at 128x384 from a file of fp32, at a cosine of 0.999: f16, and with each choice of 8 bits;
         "_s" are seconds of the builds.
build    Seconds for BERT-large at 1x128, kernels compiled and timed from nothing; again with the timing cache and
         compiled kernels.

Times are medians of the device alone (events); "whole" has inputs and outputs copied. "floor" is what the data sheet
leaves: flops at --tflops, or weights at --bandwidth, whichever takes longer. --compile whole compiles the model with
mode="max-autotune"; layers compiles each layer of BERT and each block of ResNet that way, alike ones once, and replays
all as one CUDA graph, which gives the same kernels in a fraction of the time; convolutions are then cuDNN's, as trying
Triton's takes minutes. A row that fails or takes longer than --limit is left out, and why is said; --json is written
after each row. Needs torch, transformers, timm, onnx. With --device cpu --layers 1 it can be tried anywhere.
"""
import argparse
import contextlib
import json
import os
import signal
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
LENGTH_SIZES = {"bert-base": [(1, 128), (32, 128), (128, 128)], "bert-large": [(1, 384), (128, 128), (32, 384)]}
BERTS = {"bert-base": (768, 12, 12), "bert-large": (1024, 24, 16)}  # hidden, layers, heads
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


# ---- models ----

def bert_config(name, args, **more):
    from transformers import BertConfig
    hidden, layers, heads = BERTS[name]
    return BertConfig(hidden_size=hidden, num_hidden_layers=args.layers or layers, num_attention_heads=heads,
                      intermediate_size=4 * hidden, attn_implementation="sdpa", **more)


def make_model(name, args):
    torch.manual_seed(0)
    with torch.device(args.device):  # which makes up numbers faster than the host
        if name == "resnet50":
            import timm
            return timm.create_model("resnet50").to(args.type, memory_format=torch.channels_last).eval()
        from transformers import BertModel
        return BertModel(bert_config(name, args), add_pooling_layer=False).to(args.type).eval()


class Plain(torch.nn.Module):
    """BERT of one tensor to one tensor: what exporters take, whatever else its forward() has come to accept."""

    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, input_ids):
        return self.bert(input_ids=input_ids).last_hidden_state


def example(name, size, args):
    if name == "resnet50":
        images = torch.randn(*size, 3, 224, 224, device=args.device, dtype=args.type)
        return {"x": images.contiguous(memory_format=torch.channels_last)}
    return {"input_ids": torch.randint(0, 30000, size, device=args.device)}


def export(name, model, args, path):
    inputs = example(name, SIZES[name][0], args)
    dynamic = {key: {0: "batch"} if name == "resnet50" else {0: "batch", 1: "sequence"} for key in inputs}
    torch.onnx.export(model if name == "resnet50" else Plain(model), tuple(inputs.values()), str(path), input_names=list(inputs), output_names=["y"],
                      dynamic_axes={**dynamic, "y": {0: "batch"}}, opset_version=17, dynamo=False)


def floor_ms(name, size, args, part=1):
    """At the peaks that were given; `part`: of tokens that are no padding."""
    if name == "resnet50":
        flops, weights = 8.18e9 * size[0], 25.6e6
    else:
        hidden, layers, _ = BERTS[name]
        layers = args.layers or layers
        tokens, weights = size[0] * size[1] * part, 12 * layers * hidden**2
        flops = tokens * layers * (24 * hidden**2 + 4 * size[1] * part * hidden)
    return max(flops / args.tflops / 1e9, weights * args.type.itemsize / args.bandwidth / 1e9)


# ---- PyTorch ----

LONG_MS = 1000  # after which fewer runs do


def median_ms(call, runs=30, warm=5):
    if not torch.cuda.is_available():
        call()
        begin = time.perf_counter()
        call()
        return (time.perf_counter() - begin) * 1e3
    for _ in range(warm):
        call()
    torch.cuda.synchronize()
    times = []
    while len(times) < runs and (len(times) < 5 or sum(times) < LONG_MS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def graph_ms(call):
    if not torch.cuda.is_available():
        return median_ms(call)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        call()
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="relaxed"):  # what is compiled may look things up meanwhile
        call()
    return median_ms(graph.replay)


@contextlib.contextmanager
def limit(seconds):
    """Ends what is inside by TimeoutError; an outer limit holds inside of an inner one."""
    def stop(*_):
        raise TimeoutError(f"not done after {seconds:.0f} s")
    outer = signal.getitimer(signal.ITIMER_REAL)[0]
    begin, before = time.monotonic(), signal.getsignal(signal.SIGALRM)
    if outer and outer <= seconds:
        yield
        return
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)  # again and again, as compilers catch what is raised in them
    try:
        yield
    finally:
        left = max(outer - (time.monotonic() - begin), 0.01) if outer else 0
        signal.setitimer(signal.ITIMER_REAL, left, 1 if outer else 0)
        signal.signal(signal.SIGALRM, before)


def parts_of(model):
    """Of which many are alike: layers of BERT, blocks of ResNet."""
    encoder = getattr(model, "encoder", None) or getattr(getattr(model, "bert", None), "encoder", None)
    if encoder is not None:
        return list(encoder.layer)
    return [block for stage in (model.layer1, model.layer2, model.layer3, model.layer4) for block in stage]


def configure_compiler(args):
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor
    torch._dynamo.reset()
    inductor.compile_threads = os.cpu_count()
    if args.compile == "layers":
        inductor.max_autotune_conv_backends = "ATEN"
        dynamo.recompile_limit = 64  # blocks that differ in their sizes
    if args.gemm_configs:
        inductor.test_configs.max_mm_configs = args.gemm_configs


def compile_in_child(args):
    """What a child does: prints a line for each figure. A compiler that hangs or a capture that fails ends with it."""
    name, size = args.compile_one.split(":")
    size = tuple(map(int, size.split("x")))
    model = make_model(name, args)
    inputs, parts = example(name, size, args), parts_of(model)
    configure_compiler(args)
    with torch.no_grad():
        if args.compile == "whole":
            model.compile(mode="max-autotune", dynamic=False)
            print(median_ms(lambda: model(**inputs)), flush=True)
            return
        for part in parts:
            part.compile(mode="max-autotune-no-cudagraphs", dynamic=False)
        print(median_ms(lambda: model(**inputs)), flush=True)  # launched one by one
        print(graph_ms(lambda: model(**inputs)), flush=True)


def compiled_ms(name, size, args):
    """None when it does not end in time."""
    begin, ours = time.perf_counter(), ("lathe", "figures", "models", "sizes", "json", "models_from", "type", "compile_one")
    options = [f"--{key.replace('_', '-')}={value}" for key, value in vars(args).items() if value and key not in ours]
    child = subprocess.Popen([sys.executable, __file__, *options, f"--compile-one={name}:{'x'.join(map(str, size))}"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, errors = child.communicate(timeout=args.compile_limit)
    except BaseException as error:
        os.killpg(child.pid, signal.SIGKILL)  # its compilers, too
        out, errors = child.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
    figures = [float(line) for line in out.split("\n") if line.replace(".", "", 1).isdigit()]
    last = (errors.strip().split("\n") or [""])[-1][:200] if child.returncode != 0 else ""
    print(f"torch.compile of {name} {size}: {time.perf_counter() - begin:.0f} s, exit {child.returncode}, ms {figures} "
          f"{last}", file=sys.stderr, flush=True)
    return min(figures, default=None)


def torch_ms(model, inputs):
    """Of each way to run it that works."""
    with torch.inference_mode():
        return {"eager": median_ms(lambda: model(**inputs)), "graph": graph_ms(lambda: model(**inputs))}


# ---- Lathe ----

def lathe(args, *command, environment=None):
    done = subprocess.run([args.lathe, *map(str, command), "--device", args.device], capture_output=True, text=True,
                          timeout=args.limit, env={**os.environ, **(environment or {})})
    if done.returncode != 0:
        raise RuntimeError(f"lathe {command[0]}: {done.stderr.strip()[:500]}")
    return done.stdout


def shape_of(size, name=None):
    sizes = (*size, 3, 224, 224) if name == "resnet50" else size
    return ("--shape", f"*:{'x'.join(map(str, sizes))}")


def bench_ms(args, plan, size, *options, name=None):
    """Of the device alone, and of whole runs."""
    measured = json.loads(lathe(args, "bench", plan, "--duration", args.seconds, "--json", *shape_of(size, name), *options))
    whole = measured["latency_ms"]["median"]
    return measured.get("device_ms", {"compute": whole})["compute"], whole


def timed_build(args, model, plan, *options, environment=None):
    begin = time.perf_counter()
    lathe(args, "build", model, "-o", plan, *options, environment=environment)
    return time.perf_counter() - begin


# ---- figures ----

class Run:
    def __init__(self, args, folder):
        self.args, self.folder, self.models, self.rows = args, Path(folder), {}, []

    def wanted(self, sizes):
        chosen = self.args.sizes.split(",") if self.args.sizes else None
        return [s for s in sizes if chosen is None or "x".join(map(str, s)) in chosen]

    def names(self, table):
        return [name for name in self.args.models.split(",") if name in table]

    def model(self, name):
        """PyTorch's, and the file of the same."""
        if name not in self.models:
            model, path = make_model(name, self.args), self.folder / f"{name}.onnx"
            if self.args.models_from:
                path = Path(self.args.models_from) / f"{name}-{self.args.dtype}.onnx"
            else:
                export(name, model, self.args, path)
            self.models[name] = model, path
        return self.models[name]

    def wide_file(self, name):
        """In fp32, for precision to be chosen by Lathe."""
        path = self.folder / f"{name}-fp32.onnx"
        if self.args.models_from:
            return Path(self.args.models_from) / path.name
        if path.exists():
            return path
        wide = argparse.Namespace(**{**vars(self.args), "type": torch.float32})
        export(name, make_model(name, wide), wide, path)
        return path

    def report(self, figure, name, size, **values):
        self.rows.append({"figure": figure, "model": name, "size": size, **values})
        text = "  ".join(f"{key} {value:.3f}" for key, value in values.items() if isinstance(value, (int, float)))
        print(f"{figure:8s} {name:11s} {'x'.join(map(str, size)):>8s}  {text}", flush=True)
        if self.args.json:
            facts = {"device": device_name(self.args), "dtype": self.args.dtype, "torch": torch.__version__}
            Path(self.args.json).write_text(json.dumps({**facts, "rows": self.rows}, indent=1) + "\n")

    @contextlib.contextmanager
    def row(self, figure, name, size=()):
        """What fails, or takes too long, costs this row alone."""
        try:
            with limit(self.args.limit):
                yield
        except Exception as error:  # libraries have many ways to fail
            sizes = "x".join(map(str, size))
            print(f"{figure} {name} {sizes}: {type(error).__name__}: {str(error)[:500]}", file=sys.stderr, flush=True)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def latency(self):
        for name in self.names(SIZES):
            for size in self.wanted(SIZES[name]):
                with self.row("latency", name, size):
                    self.latency_of(name, size)

    def latency_of(self, name, size):
        model, path = self.model(name)
        inputs = example(name, size, self.args)
        peer = torch_ms(model, inputs)
        fast = compiled_ms(name, size, self.args) if self.args.compile != "none" else None
        if fast is not None:
            peer["compile"] = fast
        plan = self.folder / "latency.plan"
        timed_build(self.args, path, plan, *shape_of(size, name))
        ours, whole = bench_ms(self.args, plan, size, name=name)
        again = torch_ms(model, inputs)
        self.report("latency", name, size, **peer, lathe=ours, whole=whole, ratio=min(peer.values()) / ours,
                    floor=floor_ms(name, size, self.args),
                    drift=min(again.values()) / min(peer["eager"], peer["graph"]))

    def lengths(self):
        for name in self.names(LENGTH_SIZES):
            for size in self.wanted(LENGTH_SIZES[name]):
                with self.row("lengths", name, size):
                    self.lengths_of(name, size)

    def classifier(self, name):
        """PyTorch's, and a folder of the same in fp32."""
        from transformers import BertForSequenceClassification
        torch.manual_seed(0)
        with torch.device(self.args.device):
            model = BertForSequenceClassification(bert_config(name, self.args)).eval()
        folder = self.folder / f"{name}-classifier"
        if not folder.exists():
            model.save_pretrained(folder)
        return model.to(self.args.type), folder

    def lengths_of(self, name, size):
        model, folder = self.classifier(name)
        # Of random weights no accuracy is asked.
        narrow = () if self.args.dtype == "fp32" else (f"--{self.args.dtype}", "--accuracy", 0)
        plans = {}
        for packing in ("off", "auto"):
            plans[packing] = self.folder / f"{packing}.plan"
            timed_build(self.args, folder, plans[packing], *shape_of(size), "--packing", packing, *narrow)
        for lengths, part in (("half", 0.5), ("full", 1)):
            ends = torch.arange(1, size[0] + 1) * size[1] // size[0] if lengths == "half" else \
                torch.full((size[0],), size[1])
            mask = (torch.arange(size[1])[None, :] < ends[:, None]).long().to(self.args.device)
            inputs = {"input_ids": torch.randint(0, 30000, size, device=self.args.device), "attention_mask": mask}
            peer = torch_ms(model, inputs)
            times = {key: bench_ms(self.args, plan, size, "--lengths", lengths) for key, plan in plans.items()}
            # By turns, the better of two each: the difference may be small.
            for key, plan in plans.items():
                times[key] = min(times[key], bench_ms(self.args, plan, size, "--lengths", lengths))
            self.report("lengths", f"{name} {lengths}", size, **peer, padded=times["off"][0],
                        packed=times["auto"][0], whole_padded=times["off"][1], whole_packed=times["auto"][1],
                        ratio=times["off"][0] / times["auto"][0], floor=floor_ms(name, size, self.args, part))

    def dynamic(self):
        for name in self.names(("bert-base",)):
            with self.row("dynamic", name):
                _, path = self.model(name)
                wide, narrow, size = self.folder / "wide.plan", self.folder / "narrow.plan", (1, 200)
                timed_build(self.args, path, wide, "--profile", "*:1x1:20x512:20x512")
                timed_build(self.args, path, narrow, *shape_of(size))
                times = [[bench_ms(self.args, plan, size)[0] for plan in (wide, narrow)] for _ in range(3)]
                ours, own = (statistics.median(column) for column in zip(*times))
                self.report("dynamic", name, size, one_plan=ours, own_plan=own, ratio=ours / own)

    def bytes(self):
        for name in self.names(("bert-large",)):
            size, times = SIZES[name][-1], {}
            for kind in ("fp16", "fp8", "int8", "int8+fp8"):
                with self.row("bytes", f"{name} {kind}", size):
                    plan = self.folder / f"{kind}.plan"
                    options = [f"--{flag}" for flag in kind.split("+")] + ["--fp16"] * (kind != "fp16")
                    seconds = timed_build(self.args, self.wide_file(name), plan, *shape_of(size), *options,
                                          "--accuracy", 0.999)
                    times |= {kind: bench_ms(self.args, plan, size)[0], f"{kind}_s": seconds}
            bytes_ms = [times[kind] for kind in ("fp8", "int8", "int8+fp8") if kind in times]
            if "fp16" in times and bytes_ms:
                self.report("bytes", name, size, **times, ratio=times["fp16"] / min(bytes_ms))

    def build(self):
        for name in self.names(("bert-large",)):
            with self.row("build", name):
                _, path = self.model(name)
                size, plan = SIZES[name][0], self.folder / "build.plan"
                options = (*shape_of(size), "--timing-cache", self.folder / "times.json")
                environment = {"XDG_CACHE_HOME": str(self.folder / "cache")}
                seconds = [timed_build(self.args, path, plan, *options, environment=environment) for _ in range(2)]
                self.report("build", name, size, cold_s=seconds[0], cached_s=seconds[1])


def device_name(args):
    return torch.cuda.get_device_name() if args.device != "cpu" else args.device


def main():
    figures = ["latency", "lengths", "dynamic", "bytes", "build"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lathe", default="build/lathe")
    parser.add_argument("--figures", default=",".join(figures))
    parser.add_argument("--models", default=",".join(SIZES))
    parser.add_argument("--sizes", help="of those that each model is measured at; all if absent")
    parser.add_argument("--dtype", default="fp16", choices=DTYPES)
    parser.add_argument("--compile", default="none", choices=["none", "layers", "whole"])
    parser.add_argument("--compile-limit", type=int, default=600, help="seconds for a model and size")
    parser.add_argument("--compile-one", metavar="MODEL:SIZE", help="what the script asks of itself in another process")
    parser.add_argument("--limit", type=int, default=900, help="seconds for a row")
    parser.add_argument("--gemm-configs", type=int, help="how many of Triton's tilings are tried for a product")
    parser.add_argument("--models-from", help="folder of NAME-DTYPE.onnx, instead of exporting")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, help="of BERT, instead of as many as it has: for trying the script")
    parser.add_argument("--seconds", type=float, default=1, help="that Lathe is measured for, each time")
    parser.add_argument("--tflops", type=float, default=989, help="the GPU's peak for the type (default: H100, halves)")
    parser.add_argument("--bandwidth", type=float, default=3.0, help="TB/s of its memory")
    parser.add_argument("--json")
    args = parser.parse_args()
    args.type = DTYPES[args.dtype]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if args.compile_one:
        return compile_in_child(args)
    print(f"{device_name(args)}; torch {torch.__version__}; {args.dtype}; ms unless named otherwise")
    with tempfile.TemporaryDirectory() as folder:
        run = Run(args, folder)
        for figure in args.figures.split(","):
            if figure not in figures:
                parser.error(f"no figure '{figure}'")
            getattr(run, figure)()


if __name__ == "__main__":
    main()
