#!/usr/bin/env python3
"""Lathe's language models on a CPU against llama.cpp, by turns in one run.

  bench/models/compare_llamacpp.py FOLDER [--lathe build/lathe] [--threads 2] [--pp 512] [--tg 40] [--rounds 3]

FOLDER is a checkpoint of LLaMA's architecture, as make_decoder.py writes it. llama.cpp gets files of the same sizes with
random numbers, as time does not depend on them: F16 beside Lathe's f16, Q8_0 beside --int8, Q4_0 beside --int4. Each
round measures one after the other, from a fresh process; the medians of all rounds are printed, in tokens/s of a prompt
and of an answer behind it. Needs llama-cpp-python, built for this processor (CMAKE_ARGS=-DGGML_NATIVE=ON), and gguf.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KINDS = {"F16": [], "Q8_0": ["--int8"], "Q4_0": ["--int4"]}


def write_gguf(path, kind, config):
    import gguf
    import numpy as np
    quantization = gguf.GGMLQuantizationType[kind]
    hidden, inner, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(hidden // heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(vocab)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"t{i}" for i in range(vocab)])
    writer.add_token_scores([0.0] * vocab)
    writer.add_token_types([int(gguf.TokenType.NORMAL)] * vocab)
    numbers = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32) * 0.02

    def matrix(name, rows, columns):
        values = gguf.quants.quantize(np.resize(numbers, (rows, columns)), quantization)
        writer.add_tensor(f"{name}.weight", values, raw_dtype=quantization)

    def norm(name):
        writer.add_tensor(f"{name}.weight", np.ones(hidden, np.float32))

    matrix("token_embd", vocab, hidden)
    matrix("output", vocab, hidden)
    norm("output_norm")
    for layer in range(config["num_hidden_layers"]):
        kv = hidden // heads * kv_heads
        for name, rows, columns in (("attn_q", hidden, hidden), ("attn_k", kv, hidden), ("attn_v", kv, hidden),
                                    ("attn_output", hidden, hidden), ("ffn_gate", inner, hidden),
                                    ("ffn_up", inner, hidden), ("ffn_down", hidden, inner)):
            matrix(f"blk.{layer}.{name}", rows, columns)
        for name in ("attn_norm", "ffn_norm"):
            norm(f"blk.{layer}.{name}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def run_llamacpp(path, args):
    """In a process of its own."""
    from llama_cpp import Llama
    model = Llama(path, n_ctx=args.pp + args.tg, n_threads=args.threads, n_threads_batch=args.threads, n_batch=args.pp,
                  verbose=False)
    prompt = [5 + i % 1000 for i in range(args.pp)]
    model.eval(prompt)  # warm
    model.reset()
    begin = time.perf_counter()
    model.eval(prompt)
    middle = time.perf_counter()
    for i in range(args.tg):
        model.eval([5 + i])
    print(json.dumps([args.pp / (middle - begin), args.tg / (time.perf_counter() - middle)]))


def llamacpp(path, args):
    command = [sys.executable, __file__, args.folder, "--gguf", path, "--threads", args.threads, "--pp", args.pp, "--tg",
               args.tg]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def lathe(flags, args):
    command = [args.lathe, "bench", args.folder, "--pp", args.pp, "--tg", args.tg, "--threads", args.threads, "--json"]
    done = subprocess.run([str(part) for part in command] + flags, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)["results"][0]
    return [result["prompt_tokens_per_second"], result["answer_tokens_per_second"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--lathe", default="build/lathe")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pp", type=int, default=512)
    parser.add_argument("--tg", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gguf", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.gguf:
        return run_llamacpp(args.gguf, args)
    config = json.loads((Path(args.folder) / "config.json").read_text())
    print(f"{'weights':8s} {'prompt: llama.cpp':>18s} {'Lathe':>8s} {'ratio':>6s} {'answer: llama.cpp':>18s} {'Lathe':>8s} {'ratio':>6s}")
    with tempfile.TemporaryDirectory() as folder:
        for kind, flags in KINDS.items():
            path = Path(folder) / f"{kind}.gguf"
            write_gguf(path, kind, config)
            rounds = [(llamacpp(path, args), lathe(flags, args)) for _ in range(args.rounds)]
            path.unlink()
            theirs, ours = ([statistics.median(column) for column in zip(*side)] for side in zip(*rounds))
            print(f"{kind:8s} {theirs[0]:18.1f} {ours[0]:8.1f} {ours[0] / theirs[0]:6.2f} {theirs[1]:18.1f} {ours[1]:8.1f} "
                  f"{ours[1] / theirs[1]:6.2f}", flush=True)


if __name__ == "__main__":
    main()
