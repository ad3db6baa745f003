"""Writes tests/data/checkpoints/families.json: what Transformers computes with tiny models of many families.

The weights are not stored: both sides fill tensors from the names alone (fill() here, families_test.cc there).
Usage: make_families.py OUT.json [CASE..], with transformers 4.57; RECENT, DYNAMIC and RECENT_ENCODERS with 5.23. Where cases are named, the
others of the file stay as they are.
"""

import contextlib
import copy
import json
import os
import re
import sys
import tempfile

import numpy as np
import safetensors.torch
import torch
import transformers
from transformers import (AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMaskedLM,
                          AutoModelForQuestionAnswering, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification)

SIZES = dict(hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=32, vocab_size=12, bos_token_id=1, eos_token_id=2, pad_token_id=0)
OLD = dict(n_embd=16, n_layer=2, n_head=4, n_positions=32, vocab_size=12, bos_token_id=1, eos_token_id=2)
MHA = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
FALCON = {key: value for key, value in MHA.items() if key != "intermediate_size"}
LATENT = dict(MHA, num_key_value_heads=4, kv_lora_rank=6, q_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=6, v_head_dim=5,
              n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=10)
STEERED = dict(SIZES, n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=10)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=8)
PROMPT = [3, 7, 4, 4, 9, 1, 11, 6, 5]
STEPS = 4

CASES = {
    "apertus": ("apertus", dict(SIZES)),
    "arcee": ("arcee", dict(SIZES)),
    "biogpt": ("biogpt", dict(MHA)),
    "codegen": ("codegen", dict(OLD, rotary_dim=2)),
    "cohere": ("cohere", dict(SIZES, use_qk_norm=True, logit_scale=0.5)),
    "cohere2": ("cohere2", dict(SIZES, num_hidden_layers=4, sliding_window=3)),
    "dbrx": ("dbrx", dict(d_model=16, n_heads=4, n_layers=2, max_seq_len=32, vocab_size=12,
                          attn_config=dict(kv_n_heads=2, clip_qkv=0.8, rope_theta=5000.0),
                          ffn_config=dict(ffn_hidden_size=10, moe_num_experts=4, moe_top_k=2))),
    "deepseek-v2": ("deepseek_v2", dict(LATENT, n_shared_experts=2, first_k_dense_replace=1,
                                        topk_method="group_limited_greedy", n_group=2, topk_group=1)),
    "deepseek-v3": ("deepseek_v3", dict(LATENT, n_shared_experts=1, n_group=2, topk_group=1, first_k_dense_replace=1,
                                        rope_scaling=dict(YARN, mscale=0.7, mscale_all_dim=0.5))),
    "dots1": ("dots1", dict(STEERED, first_k_dense_replace=1, n_shared_experts=1)),
    "ernie4_5": ("ernie4_5", dict(SIZES, head_dim=6, use_bias=True)),
    "ernie4_5-moe": ("ernie4_5_moe", dict(SIZES, moe_num_experts=4, moe_k=2, moe_intermediate_size=10)),
    "exaone4": ("exaone4", dict(SIZES, num_hidden_layers=3, sliding_window=3, sliding_window_pattern=2)),
    "falcon-40b": ("falcon", dict(FALCON, new_decoder_architecture=True, num_kv_heads=2)),
    "falcon-7b": ("falcon", dict(FALCON)),
    "falcon-rw": ("falcon", dict(FALCON, alibi=True, parallel_attn=False, multi_query=False, bias=True)),
    "flex-olmo": ("flex_olmo", dict(SIZES, num_experts=4, num_experts_per_tok=2)),
    "gemma": ("gemma", dict(SIZES, head_dim=6)),
    "gemma2": ("gemma2", dict(SIZES, head_dim=6, sliding_window=3, query_pre_attn_scalar=4, attn_logit_softcapping=2.0,
                              final_logit_softcapping=3.0)),
    "gemma3": ("gemma3_text", dict(SIZES, head_dim=6, num_hidden_layers=3, sliding_window=3, sliding_window_pattern=2,
                                   rope_scaling=dict(rope_type="linear", factor=8.0))),
    "glm4": ("glm4", dict(SIZES, head_dim=4)),
    "glm4-moe": ("glm4_moe", dict(STEERED, use_qk_norm=True, attention_bias=True)),
    "gpt-oss": ("gpt_oss", dict(SIZES, head_dim=6, num_hidden_layers=3, sliding_window=3, num_local_experts=4,
                                num_experts_per_tok=2, rope_scaling=dict(YARN, truncate=False))),
    "gpt2-scaled": ("gpt2", dict(OLD, scale_attn_by_inverse_layer_idx=True, activation_function="quick_gelu")),
    "gpt-bigcode": ("gpt_bigcode", dict(OLD)),
    "gpt-neo": ("gpt_neo", dict(hidden_size=16, num_layers=2, num_heads=4, max_position_embeddings=32, vocab_size=12,
                                window_size=3, attention_types=[[["global", "local"], 1]])),
    "gptj": ("gptj", dict(OLD, rotary_dim=2)),
    "granite-hybrid": ("granitemoehybrid", dict(SIZES, num_local_experts=0, shared_intermediate_size=20, mamba_n_heads=4,
                                                layer_types=["attention"] * 2, residual_multiplier=0.5)),
    "granite-hybrid-moe": ("granitemoehybrid", dict(SIZES, num_local_experts=4, num_experts_per_tok=2,
                                                    intermediate_size=10, shared_intermediate_size=8, mamba_n_heads=4,
                                                    layer_types=["attention"] * 2, position_embedding_type="rope")),
    "granitemoe": ("granitemoeshared", dict(SIZES, num_local_experts=4, num_experts_per_tok=2, shared_intermediate_size=8,
                                            embedding_multiplier=2.0, residual_multiplier=0.5, logits_scaling=2.0)),
    "helium": ("helium", dict(SIZES, head_dim=4, attention_bias=True)),
    "hunyuan": ("hunyuan_v1_dense", dict(SIZES, head_dim=6, rope_scaling=dict(type="dynamic", alpha=1000.0, factor=1.0))),
    "hunyuan-moe": ("hunyuan_v1_moe", dict(SIZES, head_dim=6, num_experts=4, moe_topk=2)),
    "jais": ("jais", dict(OLD, n_head=3, n_embd=18, n_inner=20, activation_function="swiglu", position_embedding_type="alibi",
                          mup_embeddings_scale=2.0, mup_output_alpha=1.5, mup_width_scale=0.25, mup_scale_qk_dot_by_d=True)),
    "llama4": ("llama4_text", dict(SIZES, head_dim=6, num_hidden_layers=4, intermediate_size=10, intermediate_size_mlp=20,
                                   num_local_experts=4, num_experts_per_tok=2, interleave_moe_layer_step=2,
                                   attention_chunk_size=4, no_rope_layers=[1, 1, 0, 1], floor_scale=3, attn_scale=0.7)),
    "llama-yarn": ("llama", dict(SIZES, rope_scaling=dict(YARN, attention_factor=1.3), hidden_act="relu6")),
    "mixtral": ("mixtral", dict(SIZES, num_local_experts=4, num_experts_per_tok=2)),
    "mpt": ("mpt", dict(d_model=18, n_heads=3, n_layers=2, max_seq_len=32, vocab_size=12, attn_config=dict(clip_qkv=0.7))),
    "nemotron": ("nemotron", dict(SIZES, attention_bias=True)),
    "olmo-clip": ("olmo", dict(SIZES, clip_qkv=0.5)),
    "olmo3": ("olmo3", dict(SIZES, num_hidden_layers=4, sliding_window=3, rope_scaling=YARN)),
    "olmoe": ("olmoe", dict(SIZES, num_experts=4, num_experts_per_tok=2, clip_qkv=0.5)),
    "openai-gpt": ("openai-gpt", dict(OLD)),
    "opt-post-norm": ("opt", dict(FALCON, ffn_dim=20, do_layer_norm_before=False, word_embed_proj_dim=6)),
    "persimmon": ("persimmon", dict(MHA)),
    "phi": ("phi", dict(SIZES, partial_rotary_factor=0.5, qk_layernorm=True)),
    "phi3-window": ("phi3", dict(SIZES, sliding_window=3)),
    "phimoe": ("phimoe", dict(SIZES, num_local_experts=4, router_jitter_noise=0.3, lm_head_bias=True)),
    "qwen2_5-vl": ("qwen2_5_vl", dict(SIZES, rope_scaling=dict(type="mrope", mrope_section=[1, 1]))),
    "qwen2-moe": ("qwen2_moe", dict(SIZES, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=10,
                                    shared_expert_intermediate_size=8, mlp_only_layers=[1], num_hidden_layers=3)),
    "qwen3-moe": ("qwen3_moe", dict(SIZES, head_dim=6, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=10)),
    "qwen3-vl-moe": ("qwen3_vl_moe", dict(SIZES, head_dim=6, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=10,
                                          rope_scaling=dict(rope_type="default", mrope_section=[1, 1, 1]))),
    "seed-oss": ("seed_oss", dict(SIZES, head_dim=6)),
    "smollm3": ("smollm3", dict(SIZES, no_rope_layers=[0, 1])),
    "stablelm": ("stablelm", dict(SIZES, partial_rotary_factor=0.5, qk_layernorm=True, use_parallel_residual=True)),
    "starcoder2": ("starcoder2", dict(SIZES, sliding_window=3)),
    "vaultgemma": ("vaultgemma", dict(SIZES, head_dim=6, sliding_window=3)),
    "xglm": ("xglm", dict(d_model=16, ffn_dim=20, num_layers=2, attention_heads=4, max_position_embeddings=32,
                          vocab_size=12)),
}

PLAIN_ROPE = dict(rope_type="default", rope_theta=10000.0)
EXPERTS = dict(SIZES, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=10, num_shared_experts=1)
RECENT = {
    "afmoe": ("afmoe", dict(EXPERTS, head_dim=6, num_hidden_layers=3, global_attn_every_n_layers=2, num_dense_layers=1,
                            sliding_window=3, mup_enabled=True, route_scale=1.7)),
    "bitnet": ("bitnet", dict(SIZES)),
    "ctrl": ("ctrl", dict(n_embd=16, n_layer=2, n_head=4, n_positions=32, dff=20, vocab_size=12)),
    "cwm": ("cwm", dict(SIZES, head_dim=6, sliding_window=3, rope_parameters=PLAIN_ROPE)),
    "exaone-moe": ("exaone_moe", dict(EXPERTS, num_hidden_layers=4, sliding_window=3)),
    "glm4-moe-lite": ("glm4_moe_lite", dict(LATENT, n_shared_experts=1)),
    "granite-swa": ("granite_swa", dict(SIZES, num_hidden_layers=3, sliding_window=3, layer_rope_theta=[10000.0, 0, 10000.0],
                                        residual_multiplier=0.5, attention_multiplier=0.3, logits_scaling=2.0)),
    "granitemoe-swa": ("granitemoe_swa", dict(SIZES, num_local_experts=4, num_experts_per_tok=2, sliding_window=3,
                                              shared_intermediate_size=8)),
    "hy-v3": ("hy_v3", dict(EXPERTS, head_dim=6)),
    "hyperclovax": ("hyperclovax", dict(SIZES, residual_multiplier=0.5, logits_scaling=0.7, embedding_multiplier=2.0)),
    "jais2": ("jais2", dict(SIZES)),
    "minicpm3": ("minicpm3", dict({key: LATENT[key] for key in LATENT if "expert" not in key and key != "moe_intermediate_size"},
                                  scale_emb=3, scale_depth=1.4, dim_model_base=8)),
    "minimax-m2": ("minimax_m2", dict(SIZES, head_dim=6, rotary_dim=4, num_local_experts=4, num_experts_per_tok=2)),
    "ministral3": ("ministral3", dict(SIZES, head_dim=6, rope_parameters=dict(
        YARN, rope_theta=10000.0, original_max_position_embeddings=4, llama_4_scaling_beta=0.5))),
    "modernbert-decoder": ("modernbert-decoder", dict(MHA, local_attention=4)),
    "nanochat": ("nanochat", dict(SIZES)),
    "solar-open": ("solar_open", dict(STEERED, head_dim=6, n_shared_experts=1, routed_scaling_factor=1.5, n_group=2,
                                      topk_group=1)),
    "youtu": ("youtu", dict({key: LATENT[key] for key in LATENT if "expert" not in key and key != "moe_intermediate_size"},
                            pad_token_id=None)),
}
# Sequences outgrow the positions while they are generated, or with the prompt already.
NTK = dict(rope_type="dynamic", factor=4.0)
DYNAMIC = {
    "llama-dynamic": ("llama", dict(SIZES, max_position_embeddings=10, rope_scaling=NTK)),
    "falcon-dynamic": ("falcon", dict(FALCON, max_position_embeddings=6, rope_scaling=NTK)),
    "gpt-neox-dynamic": ("gpt_neox", dict(MHA, hidden_size=32, max_position_embeddings=10, rotary_pct=0.5, rope_scaling=NTK)),
}

BERT = dict(MHA, type_vocab_size=2)
ENCODERS = {
    "albert": ("albert", dict(BERT, embedding_size=8, hidden_act="gelu_new")),
    "big_bird": ("big_bird", dict(BERT, attention_type="original_full")),
    "data2vec": ("data2vec-text", dict(BERT, pad_token_id=1)),
    "electra": ("electra", dict(BERT, embedding_size=8)),
    "ernie": ("ernie", dict(BERT, use_task_id=True)),
}
DEBERTA = dict(MHA, relative_attention=True, pos_att_type=["p2c", "c2p"], position_biased_input=False, type_vocab_size=0)
RECENT_ENCODERS = {
    "deberta": (AutoModelForMaskedLM, "deberta", dict(DEBERTA, max_relative_positions=4)),
    "deberta-v3": (AutoModelForSequenceClassification, "deberta-v2", dict(
        DEBERTA, position_buckets=4, max_relative_positions=8, norm_rel_ebd="layer_norm", share_att_key=True)),
    "eurobert": (AutoModelForSequenceClassification, "eurobert", dict(SIZES, head_dim=6)),
    "modernbert": (AutoModelForMaskedLM, "modernbert", dict(MHA, local_attention=4)),
    "modernbert-mean": (AutoModelForSequenceClassification, "modernbert", dict(MHA, local_attention=4, norm_bias=True,
                                                                            classifier_pooling="mean")),
    "mpnet": (AutoModelForMaskedLM, "mpnet", dict(MHA, pad_token_id=0)),
    "nomic-bert": (AutoModelForMaskedLM, "nomic_bert", dict(BERT)),
    "roberta-prelayernorm": (AutoModelForQuestionAnswering, "roberta-prelayernorm", dict(BERT, pad_token_id=0)),
}
BART = dict(d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
            encoder_ffn_dim=20, decoder_ffn_dim=20, max_position_embeddings=32, vocab_size=12, decoder_start_token_id=2)
SEQ2SEQ = {
    "blenderbot-small": ("blenderbot-small", dict(BART)),
    "blenderbot": ("blenderbot", dict(BART, scale_embedding=True)),
    "mvp": ("mvp", dict(BART)),
    "plbart": ("plbart", dict(BART, scale_embedding=True)),
}


no_init_weights = getattr(transformers.modeling_utils, "no_init_weights", contextlib.nullcontext)


def fill(name, shape):
    """Numbers that follow from the name: FNV-1a of it seeds splitmix64, whose upper bits are the elements."""
    seed = np.uint64(14695981039346656037)
    with np.errstate(over="ignore"):
        for byte in name.encode():
            seed = (seed ^ np.uint64(byte)) * np.uint64(1099511628211)
        count = int(np.prod(shape))
        x = seed + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    u = (x >> np.uint64(40)).astype(np.float64) / 2**24 - 0.5
    if len(shape) > 1:
        values = u * 5.5 / np.sqrt(shape[-1])
    else:
        values = 0.6 * u + (1 if name.endswith("weight") else 0)
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


class Jais(torch.nn.Module):
    """Jais is not in Transformers: GPT-2's names and shapes, its own activation, positions and scales."""

    def __init__(self, config):
        super().__init__()
        width, inner, self.config = config.n_embd, config.n_inner, config
        matrix = lambda rows, columns: torch.nn.Parameter(torch.zeros(rows, columns))
        self.p = {"wte.weight": matrix(config.vocab_size, width)}
        for layer in range(config.n_layer):
            for name, rows, columns in (("attn.c_attn", width, 3 * width), ("attn.c_proj", width, width),
                                        ("mlp.c_fc", width, inner), ("mlp.c_fc2", width, inner),
                                        ("mlp.c_proj", inner, width)):
                self.p[f"h.{layer}.{name}.weight"] = matrix(rows, columns)
                self.p[f"h.{layer}.{name}.bias"] = torch.zeros(columns)
        for norm in [f"h.{layer}.ln_{i}" for layer in range(config.n_layer) for i in (1, 2)] + ["ln_f"]:
            self.p[f"{norm}.weight"], self.p[f"{norm}.bias"] = torch.zeros(width), torch.zeros(width)

    def state_dict(self):
        return {f"transformer.{name}": tensor for name, tensor in self.p.items()}

    def tie_weights(self):
        pass

    def forward(self, ids, use_cache):
        c, p, heads = self.config, self.p, self.config.n_head
        norm = lambda x, name: torch.nn.functional.layer_norm(x, x.shape[-1:], p[name + ".weight"], p[name + ".bias"])
        conv = lambda x, name: x @ p[name + ".weight"] + p[name + ".bias"]
        x = p["wte.weight"][ids[0]] * c.mup_embeddings_scale
        length, index = len(x), torch.arange(len(x))
        slopes = torch.tensor([2**-4.0, 2**-8.0, 2**-2.0])  # of three heads
        distance = (index[None] - index[:, None]).float()
        bias = torch.where(distance > 0, float("-inf"), slopes[:, None, None] * distance)
        for layer in range(c.n_layer):
            name = f"h.{layer}."
            q, k, v = [part.view(length, heads, -1).transpose(0, 1)
                       for part in conv(norm(x, name + "ln_1"), name + "attn.c_attn").chunk(3, -1)]
            weights = (q @ k.transpose(1, 2) / q.shape[-1] + bias).softmax(-1)
            x = x + conv((weights @ v).transpose(0, 1).reshape(length, -1), name + "attn.c_proj")
            n = norm(x, name + "ln_2")
            inner = conv(n, name + "mlp.c_fc") * torch.nn.functional.silu(conv(n, name + "mlp.c_fc2"))
            x = x + conv(inner, name + "mlp.c_proj")
        logits = norm(x, "ln_f") @ p["wte.weight"].T * c.mup_output_alpha * c.mup_width_scale
        return transformers.modeling_outputs.CausalLMOutput(logits=logits[None])


EYE = dict(depth=1, hidden_size=8, num_heads=2, intermediate_size=8, out_hidden_size=16, patch_size=4,
           num_position_embeddings=16, deepstack_visual_indexes=[0], fullatt_block_indexes=[0])


def sees(model_type):
    return "_vl" in model_type


def model_that_sees(model_type, fields):
    config = AutoConfig.for_model(model_type, text_config=fields, vision_config=EYE)
    return config, AutoModelForImageTextToText.from_config(config, attn_implementation="eager")


def model_of(model_type, fields):
    known = model_type != "jais"
    config = None if sees(model_type) else AutoConfig.for_model(model_type if known else "gpt2", **fields)
    with no_init_weights():
        attention = "sdpa" if model_type == "falcon" else "eager"
        if sees(model_type):
            config, model = model_that_sees(model_type, fields)
        else:
            model = AutoModelForCausalLM.from_config(config, attn_implementation=attention) if known else Jais(config)
    state = model.state_dict()
    kept = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or (config.tie_word_embeddings and name.split(".")[0] in ("lm_head", "output_projection")):
            continue
        if "visual" in name:
            continue
        with torch.no_grad():
            tensor.copy_(fill(name, tuple(tensor.shape)))
        kept[name] = list(tensor.shape)
    model.tie_weights()
    return config, model.eval().float(), kept


LAYER = re.compile(r"^(.*?\b(?:h|layers?|blocks)\.)(\d+)\.(.*)$")


def grouped(tensors, layers):
    """{prefix of layers: {name: [shape, numbers of the layers that have it, unless all do]}}; "" for other tensors."""
    groups = {}
    for name, shape in tensors.items():
        found = LAYER.match(name)
        prefix, number, rest = found.groups() if found else ("", None, name)
        same = groups.setdefault(prefix, {}).setdefault(rest, [shape, []])
        assert same[0] == shape, name
        same[1] += [] if number is None else [int(number)]
    for rows in groups.values():
        for rest, (shape, numbers) in rows.items():
            rows[rest] = [shape] if len(numbers) in (0, layers) else [shape, numbers]
    return {prefix: with_stars(rows) for prefix, rows in groups.items()}


def with_stars(rows):
    """The tensors of four experts under one name, "experts.*.up"."""
    result = {}
    for name, row in rows.items():
        starred = re.sub(r"\bexperts\.\d+\.", "experts.*.", name)
        assert result.setdefault(starred, row) == row, name
    return result


def through_folder(model_type, fields, auto_class=AutoModelForCausalLM, **implementation):
    """Fills tensors by the names that they have in files, which newer versions of Transformers rename while loading."""
    config = AutoConfig.for_model(model_type, **fields)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        auto_class.from_config(config).save_pretrained(folder)
        tensors = {name: fill(name, tuple(tensor.shape)) for name, tensor in safetensors.torch.load_file(path).items()}
        safetensors.torch.save_file(tensors, path, {"format": "pt"})
        implementation = implementation or dict(attn_implementation="eager", experts_implementation="eager")
        model = auto_class.from_pretrained(folder, dtype=torch.float32, **implementation)
    return config, model.eval(), {name: list(tensor.shape) for name, tensor in tensors.items()}


def case(model_type, fields, load=model_of, outgrows=False):
    config, model, tensors = load(model_type, copy.deepcopy(fields))
    ids, greedy, logits, past, stored = list(PROMPT), [], None, None, {}
    with torch.no_grad():
        for _ in range(STEPS):
            # What is generated beyond the positions turns by the length at which it came, keys in the cache included.
            if outgrows:
                result = model(torch.tensor([ids if past is None else ids[-1:]]), past_key_values=past, use_cache=True)
                past = result.past_key_values
            else:
                result = model(torch.tensor([ids]), use_cache=False)
            row = result.logits[0, -1]
            logits = row if logits is None else logits
            greedy.append(int(row.argmax()))
            ids.append(greedy[-1])
    if outgrows:
        stored = {"context": 32, "last": [round(float(x), 4) for x in row]}
    settings = {key: value for key, value in fields.items() if not key.endswith("_token_id")}
    if sees(model_type):
        settings = {"text_config": {"model_type": model_type + "_text", **settings}}
    layers = config.get_text_config().num_hidden_layers
    return {"config": {"model_type": model_type, **settings}, "layers": layers, "tensors": grouped(tensors, layers), "logits": [round(float(x), 4) for x in logits],
            "greedy": greedy, **stored}


# Matrices and biases that are others by a second name.
AGAIN = re.compile(r"embed_tokens|lm_head\.(decoder\.|weight)|predictions\.decoder|generator_lm_head\.weight")


def filled(auto_class, model_type, fields):
    with no_init_weights():
        config = AutoConfig.for_model(model_type, **fields)
        model = auto_class.from_config(config, attn_implementation="eager").eval().float()
    model.tie_weights()
    state = {name: tensor for name, tensor in model.state_dict().items()
             if tensor.is_floating_point() and not AGAIN.search(name)}
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(fill(name, tuple(tensor.shape)))
    tensors = grouped({name: list(tensor.shape) for name, tensor in state.items()}, 2)
    settings = {"model_type": model_type, "is_encoder_decoder": auto_class is AutoModelForSeq2SeqLM, **fields,
                "architectures": [type(model).__name__]}
    return model, {"config": settings, "layers": 2, "tensors": tensors}


def encoder_case(model_type, fields):
    """The logits of a model that fills masks, at the third token."""
    model, found = filled(AutoModelForMaskedLM, model_type, fields)
    with torch.no_grad():
        row = model(torch.tensor([PROMPT])).logits[0, 2]
    return {**found, "logits": [round(float(x), 4) for x in row]}


def recent_encoder_case(auto_class, model_type, fields):
    """What stands first in the output: the logits of the third token, of the text, or of where an answer begins."""
    attention = {} if model_type.startswith("deberta") else {"attn_implementation": "eager"}
    _, model, tensors = through_folder(model_type, fields, auto_class, **attention, use_safetensors=True)
    with torch.no_grad():
        first = model(torch.tensor([PROMPT]))[0][0]
    row = first[2] if first.dim() == 2 else first
    settings = {"model_type": model_type, **fields, "architectures": [type(model).__name__]}
    return {"config": settings, "layers": 2, "tensors": grouped(tensors, 2), "logits": [round(float(x), 4) for x in row]}


def seq2seq_case(model_type, fields):
    """The states of the encoder at the third token."""
    model, found = filled(AutoModelForSeq2SeqLM, model_type, fields)
    with torch.no_grad():
        row = model.get_encoder()(torch.tensor([PROMPT])).last_hidden_state[0, 2]
    return {**found, "states": [round(float(x), 4) for x in row]}


def merged(base, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    base = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        base[key] = merged(base.get(key), value)
        if value is None:
            del base[key]
    return base


def patch_of(base, wanted):
    if not (isinstance(base, dict) and isinstance(wanted, dict)):
        return wanted
    removed = {key: None for key in base if key not in wanted}
    return {**removed, **{key: patch_of(base.get(key), value) for key, value in wanted.items() if base.get(key) != value}}


ALIKE = ("config", "tensors")


def packed(cases):
    """Configuration and tensors as what makes them of those of a case before, where that is shorter: `like`."""
    size = lambda value: len(json.dumps(value, separators=(",", ":")))
    result = {}
    for name, found in cases.items():
        patches = {other: {part: patch_of(cases[other][part], found[part]) for part in ALIKE} for other in result}
        other = min(patches, key=lambda key: size(patches[key]), default=None)
        if other and size(patches[other]) < size({part: found[part] for part in ALIKE}):
            result[name] = {**found, "like": other, **patches[other]}
        else:
            result[name] = found
        assert None not in found["config"].values(), "a patch cannot hold null"
    return result


def unpacked(cases):
    result = {}
    for name, found in cases.items():
        other = found.pop("like", None)
        result[name] = {**found, **{part: merged(result[other][part], found[part]) for part in ALIKE}} if other else found
    return result


def section(name, cases):
    lines = [f'"{key}": {json.dumps(found, separators=(",", ":"))}' for key, found in cases.items()]
    return f'"{name}": {{\n' + ",\n".join(lines) + "\n}"


def main():
    torch.manual_seed(0)
    named, kept = sys.argv[2:], {}
    if named:
        with open(sys.argv[1], encoding="utf-8") as file:
            kept = json.load(file)

    def computed(cases, compute):
        return {name: compute(*arguments) for name, arguments in cases.items() if name in named or not named}

    cases = {**unpacked(kept.get("cases", {})), **computed(CASES, case),
             **computed(RECENT, lambda *of: case(*of, load=through_folder)),
             **computed(DYNAMIC, lambda *of: case(*of, load=through_folder, outgrows=True))}
    encoders = {**unpacked(kept.get("encoders", {})), **computed(ENCODERS, encoder_case),
                **computed(RECENT_ENCODERS, recent_encoder_case)}
    seq2seq = {**kept.get("seq2seq", {}), **computed(SEQ2SEQ, seq2seq_case)}
    sections = [json.dumps({"prompt": PROMPT})[1:-1], section("cases", packed(cases)), section("encoders", packed(encoders)),
                section("seq2seq", seq2seq)]
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write("{" + ",\n".join(sections) + "}\n")


if __name__ == "__main__":
    main()
