#!/usr/bin/env python3
"""Writes a checkpoint of a decoder with random weights, at real size or any other, to measure with `lathe bench`.

  bench/models/make_decoder.py FOLDER [--family llama|mixtral|bloom|chatglm] [--hidden N] [--intermediate N] [--layers N]
      [--heads N] [--kv-heads N] [--vocab N] [--experts N] [--dtype float16]

The defaults are the sizes of LLaMA-7B, Mixtral-8x7B, BLOOM-7B1 and ChatGLM-6B; LLaMA of 1.1 billion parameters: --hidden 2048
--intermediate 5632 --layers 22 --kv-heads 4. Weights are normal with a deviation of 0.02, those of norms 1, biases 0.
Needs torch; uses a GPU where there is one.
"""
import argparse
import json
import math
import struct
from pathlib import Path

import torch

DTYPES = {"float16": ("F16", torch.float16), "bfloat16": ("BF16", torch.bfloat16)}
SIZES = {"llama": {"hidden": 4096, "intermediate": 11008, "layers": 32, "heads": 32, "kv_heads": 32, "vocab": 32000},
         "mixtral": {"hidden": 4096, "intermediate": 14336, "layers": 32, "heads": 32, "kv_heads": 8, "vocab": 32000,
                     "experts": 8},
         "bloom": {"hidden": 4096, "intermediate": 16384, "layers": 30, "heads": 32, "kv_heads": 32, "vocab": 250880},
         "chatglm": {"hidden": 4096, "intermediate": 16384, "layers": 28, "heads": 32, "kv_heads": 32,
                     "vocab": 130528}}


def with_bias(name, rows, columns):
    yield f"{name}.weight", (rows, columns)
    yield f"{name}.bias", (rows,)


def norm(name, size):
    yield f"{name}.weight", (size,)
    yield f"{name}.bias", (size,)


def mlp(a, prefix, gate, up, down):
    for name in (gate, up):
        yield f"{prefix}{name}.weight", (a.intermediate, a.hidden)
    yield f"{prefix}{down}.weight", (a.hidden, a.intermediate)


def mixture(a, prefix):
    yield prefix + "block_sparse_moe.gate.weight", (a.experts, a.hidden)
    for expert in range(a.experts):
        yield from mlp(a, f"{prefix}block_sparse_moe.experts.{expert}.", "w1", "w3", "w2")


def llama(a):
    kv = a.hidden // a.heads * a.kv_heads
    yield "model.embed_tokens.weight", (a.vocab, a.hidden)
    for layer in range(a.layers):
        prefix = f"model.layers.{layer}."
        for name, rows in (("q", a.hidden), ("k", kv), ("v", kv), ("o", a.hidden)):
            yield f"{prefix}self_attn.{name}_proj.weight", (rows, a.hidden)
        if a.family == "mixtral":
            yield from mixture(a, prefix)
        else:
            yield from mlp(a, prefix + "mlp.", "gate_proj", "up_proj", "down_proj")
        yield prefix + "input_layernorm.weight", (a.hidden,)
        yield prefix + "post_attention_layernorm.weight", (a.hidden,)
    yield "model.norm.weight", (a.hidden,)
    yield "lm_head.weight", (a.vocab, a.hidden)


def layers_of_glm(a, layers, attention):
    """What BLOOM and ChatGLM-6B have in common."""
    for layer in range(a.layers):
        prefix = f"transformer.{layers}.{layer}."
        yield from norm(prefix + "input_layernorm", a.hidden)
        yield from with_bias(f"{prefix}{attention}.query_key_value", 3 * a.hidden, a.hidden)
        yield from with_bias(f"{prefix}{attention}.dense", a.hidden, a.hidden)
        yield from norm(prefix + "post_attention_layernorm", a.hidden)
        yield from with_bias(prefix + "mlp.dense_h_to_4h", a.intermediate, a.hidden)
        yield from with_bias(prefix + "mlp.dense_4h_to_h", a.hidden, a.intermediate)


def bloom(a):
    yield "transformer.word_embeddings.weight", (a.vocab, a.hidden)
    yield from norm("transformer.word_embeddings_layernorm", a.hidden)
    yield from layers_of_glm(a, "h", "self_attention")
    yield from norm("transformer.ln_f", a.hidden)


def chatglm(a):
    yield "transformer.word_embeddings.weight", (a.vocab, a.hidden)
    yield from layers_of_glm(a, "layers", "attention")
    yield from norm("transformer.final_layernorm", a.hidden)
    yield "lm_head.weight", (a.vocab, a.hidden)


TENSORS = {"llama": llama, "mixtral": llama, "bloom": bloom, "chatglm": chatglm}  # names and sizes, in the order of the file


def config(a):
    common = {"model_type": a.family, "hidden_size": a.hidden, "vocab_size": a.vocab, "torch_dtype": a.dtype}
    if a.family in ("llama", "mixtral"):
        if a.family == "mixtral":
            common |= {"num_local_experts": a.experts, "num_experts_per_tok": 2, "sliding_window": None}
        return common | {"architectures": [f"{a.family.capitalize()}ForCausalLM"], "intermediate_size": a.intermediate,
                         "num_hidden_layers": a.layers, "num_attention_heads": a.heads,
                         "num_key_value_heads": a.kv_heads, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
                         "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False, "bos_token_id": 1,
                         "eos_token_id": 2}
    if a.family == "bloom":
        return common | {"architectures": ["BloomForCausalLM"], "n_layer": a.layers, "n_head": a.heads,
                         "layer_norm_epsilon": 1e-5, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    return common | {"architectures": ["ChatGLMModel"], "num_layers": a.layers, "num_attention_heads": a.heads,
                     "inner_hidden_size": a.intermediate, "layernorm_epsilon": 1e-5, "max_sequence_length": 2048,
                     "position_encoding_2d": True, "bos_token_id": 130004, "eos_token_id": 130005,
                     "mask_token_id": 130000, "gmask_token_id": 130001, "pad_token_id": 3}


def write_weights(path, a):
    code, dtype = DTYPES[a.dtype]
    all_tensors = list(TENSORS[a.family](a))
    header, offset = {"__metadata__": {"format": "pt"}}, 0  # transformers wants to be told
    for name, shape in all_tensors:
        size = 2 * math.prod(shape)
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in all_tensors:
            if len(shape) == 1:
                values = torch.zeros(shape) if name.endswith(".bias") else torch.ones(shape)
            else:
                values = torch.randn(shape, device=device) * 0.02
            file.write(values.to(dtype).cpu().view(torch.int16).numpy().tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--family", default="llama", choices=SIZES)
    for name in SIZES["mixtral"]:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    parser.add_argument("--dtype", default="float16", choices=DTYPES)
    args = parser.parse_args()
    for name, size in SIZES[args.family].items():
        if getattr(args, name) is None:
            setattr(args, name, size)
    args.folder.mkdir(parents=True, exist_ok=True)
    write_weights(args.folder / "model.safetensors", args)
    (args.folder / "config.json").write_text(json.dumps(config(args), indent=1) + "\n")


if __name__ == "__main__":
    main()
