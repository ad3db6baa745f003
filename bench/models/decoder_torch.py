#!/usr/bin/env python3
"""How fast transformers runs a decoder of random weights on a GPU: the rival of `lathe bench DIR`.

  bench/models/decoder_torch.py [--family llama|bloom] [--prompt 2048] [--context 512] [--batch 1,64] [--compile MODE]

Prints tokens/s of a prompt, and of decoding behind prompts of --context tokens. Sizes of LLaMA-7B (with SDPA) or of
BLOOM-7B1 (transformers has it without), f16. ChatGLM-6B is not in transformers. Eager; with --compile, decoding over a
static cache by what torch.compile makes (reduce-overhead, max-autotune). Needs torch and transformers, of 5 to compile.
"""
import argparse
import time

import torch
from transformers import BloomConfig, BloomForCausalLM, LlamaConfig, LlamaForCausalLM, StaticCache


def seconds(call, runs, warm):
    for _ in range(warm):
        call()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(runs):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - begin) / runs


def make_model(family):
    if family == "bloom":
        return BloomForCausalLM(BloomConfig(hidden_size=4096, n_layer=30, n_head=32, vocab_size=250880))
    config = LlamaConfig(max_position_embeddings=4096, attn_implementation="sdpa")  # its defaults are LLaMA-7B's sizes
    return LlamaForCausalLM(config)


def decode_seconds(model, batch, context, mode):
    ids = torch.randint(0, model.config.vocab_size, (batch, context), device="cuda")
    runs, warm = 10, 3
    if not mode:
        cache, step = model(ids, use_cache=True).past_key_values, model
    else:
        cache = StaticCache(config=model.config, max_cache_len=context + runs + warm)
        model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        step = torch.compile(model, mode=mode, fullgraph=True)
    token = ids[:, :1].clone()
    return seconds(lambda: step(token, past_key_values=cache, use_cache=True), runs, warm)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="llama", choices=("llama", "bloom"))
    parser.add_argument("--prompt", type=int, default=2048)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--batch", default="1,64")
    parser.add_argument("--compile", metavar="MODE")
    args = parser.parse_args()
    torch.set_default_dtype(torch.float16)
    with torch.device("cuda"):
        model = make_model(args.family).eval()
    print(f"{torch.cuda.get_device_name()}; torch {torch.__version__}")
    with torch.no_grad():
        ids = torch.randint(0, model.config.vocab_size, (1, args.prompt), device="cuda")
        took = seconds(lambda: model(ids, use_cache=False, logits_to_keep=1), 3, 2)
        print(f"prompt of {args.prompt}: {args.prompt / took:.1f} tokens/s")
        for batch in map(int, args.batch.split(",")):
            took = decode_seconds(model, batch, args.context, args.compile)
            print(f"decode, {batch} behind {args.context}: {batch / took:.1f} tokens/s")


if __name__ == "__main__":
    main()
