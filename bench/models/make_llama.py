#!/usr/bin/env python3
"""Writes a checkpoint of LLaMA's architecture with random weights, at any size, to measure with `lathe bench`.

  bench/models/make_llama.py FOLDER [--hidden 4096] [--intermediate 11008] [--layers 32] [--heads 32] [--kv-heads 32]
      [--vocab 32000] [--dtype float16]

The defaults are LLaMA-7B's sizes; for 1.1 billion parameters: --hidden 2048 --intermediate 5632 --layers 22 --kv-heads 4.
Weights are normal with a deviation of 0.02, those of norms 1. Needs torch; uses a GPU where there is one.
"""
import argparse
import json
import math
import struct
from pathlib import Path

import torch

DTYPES = {"float16": ("F16", torch.float16), "bfloat16": ("BF16", torch.bfloat16)}


def tensors(a):
    """Names and sizes, in the order of the file."""
    kv = a.hidden // a.heads * a.kv_heads
    yield "model.embed_tokens.weight", (a.vocab, a.hidden)
    for layer in range(a.layers):
        prefix = f"model.layers.{layer}."
        for name, rows in (("q", a.hidden), ("k", kv), ("v", kv), ("o", a.hidden)):
            yield f"{prefix}self_attn.{name}_proj.weight", (rows, a.hidden)
        yield prefix + "mlp.gate_proj.weight", (a.intermediate, a.hidden)
        yield prefix + "mlp.up_proj.weight", (a.intermediate, a.hidden)
        yield prefix + "mlp.down_proj.weight", (a.hidden, a.intermediate)
        yield prefix + "input_layernorm.weight", (a.hidden,)
        yield prefix + "post_attention_layernorm.weight", (a.hidden,)
    yield "model.norm.weight", (a.hidden,)
    yield "lm_head.weight", (a.vocab, a.hidden)


def write_weights(path, a):
    code, dtype = DTYPES[a.dtype]
    header, offset = {}, 0
    for name, shape in tensors(a):
        size = 2 * math.prod(shape)
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, shape in tensors(a):
            values = torch.ones(shape) if len(shape) == 1 else torch.randn(shape, device=device) * 0.02
            file.write(values.to(dtype).cpu().view(torch.int16).numpy().tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, size in (("hidden", 4096), ("intermediate", 11008), ("layers", 32), ("heads", 32), ("kv-heads", 32),
                       ("vocab", 32000)):
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--dtype", default="float16", choices=DTYPES)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    write_weights(args.folder / "model.safetensors", args)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": args.hidden,
              "intermediate_size": args.intermediate, "num_hidden_layers": args.layers,
              "num_attention_heads": args.heads, "num_key_value_heads": args.kv_heads, "vocab_size": args.vocab,
              "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
              "tie_word_embeddings": False, "torch_dtype": args.dtype, "bos_token_id": 1, "eos_token_id": 2}
    (args.folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


if __name__ == "__main__":
    main()
