// What families call their tensors. Families that descend from one another share names; the rows of families.cc pick.
#pragma once

#include "checkpoint/model_config.h"

namespace lathe::checkpoint {

inline constexpr Names kLlamaNames{.root = "model.|language_model.model.|model.language_model.|model.text_model.",
                                   .embedding = "embed_tokens",
                                   .layers = "layers.",
                                   .norm1 = "input_layernorm",
                                   .norm2 = "post_attention_layernorm",
                                   .q = "self_attn.q_proj",
                                   .k = "self_attn.k_proj",
                                   .v = "self_attn.v_proj",
                                   .q_norm = "self_attn.q_norm",
                                   .k_norm = "self_attn.k_norm",
                                   .attention_out = "self_attn.o_proj",
                                   .gate = "mlp.gate_proj",
                                   .up = "mlp.up_proj",
                                   .down = "mlp.down_proj",
                                   .final_norm = "norm",
                                   .head = "lm_head|language_model.lm_head",
                                   .buffers = "rotary_emb.inv_freq|rotary_emb.cos_cached|rotary_emb.sin_cached"};

constexpr Names mixtral_names() {
  Names names = kLlamaNames;
  names.router = "block_sparse_moe.gate";
  names.experts = "block_sparse_moe.experts.";
  names.expert_gate = "w1";
  names.expert_up = "w3";
  names.expert_down = "w2";
  return names;
}

constexpr Names qwen_moe_names() {
  Names names = kLlamaNames;
  names.router = "mlp.gate";
  names.experts = "mlp.experts.";
  names.expert_gate = "gate_proj";
  names.expert_up = "up_proj";
  names.expert_down = "down_proj";
  names.shared = "mlp.shared_expert.";
  names.shared_gate = "mlp.shared_expert_gate";
  return names;
}

constexpr Names qwen_vl_moe_names() {
  Names names = qwen_moe_names();
  names.expert_gate = {};
  names.expert_up = "gate_up_proj";
  return names;
}

constexpr Names phi3_names() {
  Names names = kLlamaNames;
  names.qkv = "self_attn.qkv_proj";
  names.up = "mlp.gate_up_proj";
  return names;
}

constexpr Names baichuan_names() {
  Names names = kLlamaNames;
  names.qkv = "self_attn.W_pack";
  return names;
}

constexpr Names glm_names() {
  Names names = kLlamaNames;
  names.up = "mlp.gate_up_proj";
  return names;
}

constexpr Names glm4_names() {
  Names names = glm_names();
  names.post_norm1 = "post_self_attn_layernorm";
  names.post_norm2 = "post_mlp_layernorm";
  return names;
}

constexpr Names gemma2_names() {
  Names names = kLlamaNames;
  names.norm2 = "pre_feedforward_layernorm";
  names.post_norm1 = "post_attention_layernorm";
  names.post_norm2 = "post_feedforward_layernorm";
  return names;
}

constexpr Names olmo2_names() {
  Names names = kLlamaNames;
  names.norm1 = "post_attention_layernorm";
  names.norm2 = "post_feedforward_layernorm";
  return names;
}

constexpr Names starcoder2_names() {
  Names names = kLlamaNames;
  names.up = "mlp.c_fc";
  names.down = "mlp.c_proj";
  return names;
}

constexpr Names phi_names() {
  Names names = kLlamaNames;
  names.q_norm = "self_attn.q_layernorm";
  names.k_norm = "self_attn.k_layernorm";
  names.attention_out = "self_attn.dense";
  names.up = "mlp.fc1";
  names.down = "mlp.fc2";
  names.final_norm = "final_layernorm";
  return names;
}

constexpr Names granitemoe_names() {
  Names names = mixtral_names();
  names.router = "block_sparse_moe.router.layer";
  names.experts = "block_sparse_moe.";
  names.expert_gate = {};
  names.expert_up = "input_linear";
  names.expert_down = "output_linear";
  names.shared = "shared_mlp.";
  return names;
}

constexpr Names deepseek_names() {
  Names names = qwen_moe_names();
  names.router_correction = "mlp.gate.e_score_correction_bias";
  names.shared = "mlp.shared_experts.";
  names.q_down = "self_attn.q_a_proj";
  names.q_down_norm = "self_attn.q_a_layernorm";
  names.q_up = "self_attn.q_b_proj";
  names.kv_down = "self_attn.kv_a_proj_with_mqa";
  names.kv_down_norm = "self_attn.kv_a_layernorm";
  names.kv_up = "self_attn.kv_b_proj";
  return names;
}

constexpr Names gpt_oss_names() {
  Names names = kLlamaNames;
  names.sinks = "self_attn.sinks";
  names.router = "mlp.router";
  names.experts = "mlp.experts.";
  names.expert_up = "gate_up_proj";
  names.expert_down = "down_proj";
  return names;
}

constexpr Names llama4_names() {
  Names names = kLlamaNames;
  names.gate = "feed_forward.gate_proj";
  names.up = "feed_forward.up_proj";
  names.down = "feed_forward.down_proj";
  names.router = "feed_forward.router";
  names.experts = "feed_forward.experts.";
  names.expert_up = "gate_up_proj";
  names.expert_down = "down_proj";
  names.shared = "feed_forward.shared_expert.";
  names.shared_open = "gate_proj";
  names.shared_up = "up_proj";
  names.shared_down = "down_proj";
  return names;
}

constexpr Names granite_hybrid_names() {
  Names names = granitemoe_names();
  names.up = "shared_mlp.input_linear";
  names.down = "shared_mlp.output_linear";
  return names;
}

constexpr Names flex_olmo_names() {
  Names names = qwen_moe_names();
  names.norm1 = "post_attention_layernorm";
  names.norm2 = "post_feedforward_layernorm";
  return names;
}

constexpr Names ernie_moe_names() {
  Names names = deepseek_names();
  names.router_correction = "mlp.moe_statics.e_score_correction_bias";
  return names;
}

constexpr Names hunyuan_names() {
  Names names = kLlamaNames;
  names.q_norm = "self_attn.query_layernorm";
  names.k_norm = "self_attn.key_layernorm";
  return names;
}

constexpr Names hunyuan_moe_names() {
  Names names = qwen_moe_names();
  names.q_norm = "self_attn.query_layernorm";
  names.k_norm = "self_attn.key_layernorm";
  names.router = "mlp.gate.wg";
  names.shared = "mlp.shared_mlp.";
  return names;
}

constexpr Names exaone_moe_names() {
  Names names = deepseek_names();
  names.router_correction = "mlp.e_score_correction_bias";
  return names;
}

constexpr Names hy_v3_names() {
  Names names = deepseek_names();
  names.router = "mlp.router.gate";
  names.router_correction = "mlp.expert_bias";
  names.shared = "mlp.shared_mlp.";
  return names;
}

constexpr Names afmoe_names() {
  Names names = hy_v3_names();
  names.norm2 = "pre_mlp_layernorm";
  names.post_norm1 = "post_attention_layernorm";
  names.post_norm2 = "post_mlp_layernorm";
  names.attention_gate = "self_attn.gate_proj";
  names.shared = "mlp.shared_experts.";
  return names;
}

constexpr Names minimax_m2_names() {
  Names names = mixtral_names();
  names.router_correction = "block_sparse_moe.e_score_correction_bias";
  return names;
}

constexpr Names hyperclovax_names() {
  Names names = kLlamaNames;
  names.post_norm1 = "post_norm1";
  names.post_norm2 = "post_norm2";
  return names;
}

constexpr Names granite_swa_names() {
  Names names = kLlamaNames;
  names.sinks = "self_attn.sinks";
  return names;
}

constexpr Names granitemoe_swa_names() {
  Names names = granitemoe_names();
  names.sinks = "self_attn.sinks";
  names.router = "block_sparse_moe.router";
  names.experts = "block_sparse_moe.experts.";
  names.expert_up = "gate_up_proj";
  names.expert_down = "down_proj";
  names.shared_up = "input_linear";
  names.shared_down = "output_linear";
  return names;
}

constexpr Names nanochat_names() {
  Names names = kLlamaNames;
  names.up = "mlp.fc1";
  names.down = "mlp.fc2";
  return names;
}

constexpr Names bitnet_names() {
  Names names = kLlamaNames;
  names.attention_norm = "self_attn.attn_sub_norm";
  names.mlp_norm = "mlp.ffn_sub_norm";
  return names;
}

constexpr Names stablelm_names() {
  Names names = kLlamaNames;
  names.q_norm = "self_attn.q_layernorm";
  names.k_norm = "self_attn.k_layernorm";
  return names;
}

constexpr Names apertus_names() {
  Names names = kLlamaNames;
  names.norm1 = "attention_layernorm";
  names.norm2 = "feedforward_layernorm";
  names.xielu = "mlp.act_fn";
  names.buffers = "rotary_emb.inv_freq|mlp.act_fn.eps";
  return names;
}

constexpr Names vaultgemma_names() {
  Names names = kLlamaNames;
  names.norm2 = "pre_feedforward_layernorm";
  return names;
}

constexpr Names persimmon_names() {
  Names names = kLlamaNames;
  names.qkv = "self_attn.query_key_value";
  names.q_norm = "self_attn.q_layernorm";
  names.k_norm = "self_attn.k_layernorm";
  names.attention_out = "self_attn.dense";
  names.up = "mlp.dense_h_to_4h";
  names.down = "mlp.dense_4h_to_h";
  names.final_norm = "final_layernorm";
  return names;
}

inline constexpr Names kInternLm2Names{.root = "model.",
                                       .embedding = "tok_embeddings",
                                       .layers = "layers.",
                                       .norm1 = "attention_norm",
                                       .norm2 = "ffn_norm",
                                       .qkv = "attention.wqkv",
                                       .attention_out = "attention.wo",
                                       .gate = "feed_forward.w1",
                                       .up = "feed_forward.w3",
                                       .down = "feed_forward.w2",
                                       .final_norm = "norm",
                                       .head = "output",
                                       .buffers = "rotary_emb.inv_freq"};

inline constexpr Names kBloomNames{.root = "transformer.",
                                   .embedding = "word_embeddings",
                                   .embedding_norm = "word_embeddings_layernorm",
                                   .layers = "h.",
                                   .norm1 = "input_layernorm",
                                   .norm2 = "post_attention_layernorm",
                                   .qkv = "self_attention.query_key_value",
                                   .attention_out = "self_attention.dense",
                                   .up = "mlp.dense_h_to_4h",
                                   .down = "mlp.dense_4h_to_h",
                                   .final_norm = "ln_f",
                                   .buffers = "rotary_emb.inv_freq|self_attention.bias"};

inline constexpr Names kGpt2Names{.root = "transformer.",
                                  .embedding = "wte",
                                  .positions = "wpe",
                                  .layers = "h.",
                                  .norm1 = "ln_1",
                                  .norm2 = "ln_2",
                                  .qkv = "attn.c_attn",
                                  .attention_out = "attn.c_proj",
                                  .up = "mlp.c_fc",
                                  .down = "mlp.c_proj",
                                  .final_norm = "ln_f",
                                  .buffers = "attn.bias|attn.masked_bias"};

constexpr Names jais_names() {
  Names names = kGpt2Names;
  names.gate = "mlp.c_fc2";
  return names;
}

constexpr Names gpt_neo_names() {
  Names names = kGpt2Names;
  names.qkv = {};
  names.q = "attn.attention.q_proj";
  names.k = "attn.attention.k_proj";
  names.v = "attn.attention.v_proj";
  names.attention_out = "attn.attention.out_proj";
  names.buffers = "attn.attention.bias|attn.attention.masked_bias";
  return names;
}

constexpr Names gptj_names() {
  Names names = kGpt2Names;
  names.qkv = {};
  names.q = "attn.q_proj";
  names.k = "attn.k_proj";
  names.v = "attn.v_proj";
  names.attention_out = "attn.out_proj";
  names.up = "mlp.fc_in";
  names.down = "mlp.fc_out";
  return names;
}

constexpr Names codegen_names() {
  Names names = gptj_names();
  names.qkv = "attn.qkv_proj";
  names.buffers = "attn.causal_mask|attn.bias|attn.masked_bias";
  return names;
}

constexpr Names gpt1_names() {
  Names names = kGpt2Names;
  names.embedding = "tokens_embed";
  names.positions = "positions_embed";
  names.final_norm = {};
  names.buffers = "attn.bias|position_ids";
  return names;
}

constexpr Names exaone_names() {
  Names names = gpt_neo_names();
  names.positions = {};
  names.gate = "mlp.c_fc_0";
  names.up = "mlp.c_fc_1";
  names.buffers = "rotary.inv_freq|rotary_emb.inv_freq";
  return names;
}

constexpr Names qwen1_names() {
  Names names = kGpt2Names;
  names.positions = {};
  names.gate = "mlp.w2";
  names.up = "mlp.w1";
  names.buffers = "rotary_emb.inv_freq|attn.masked_bias";
  return names;
}

inline constexpr Names kCtrlNames{.root = "transformer.",
                                  .embedding = "w",
                                  .layers = "h.",
                                  .norm1 = "layernorm1",
                                  .norm2 = "layernorm2",
                                  .q = "multi_head_attention.Wq",
                                  .k = "multi_head_attention.Wk",
                                  .v = "multi_head_attention.Wv",
                                  .attention_out = "multi_head_attention.dense",
                                  .up = "ffn.0",
                                  .down = "ffn.2",
                                  .final_norm = "layernorm"};

inline constexpr Names kMptNames{.root = "transformer.",
                                 .embedding = "wte",
                                 .layers = "blocks.",
                                 .norm1 = "norm_1",
                                 .norm2 = "norm_2",
                                 .qkv = "attn.Wqkv",
                                 .attention_out = "attn.out_proj",
                                 .up = "ffn.up_proj",
                                 .down = "ffn.down_proj",
                                 .final_norm = "norm_f"};

inline constexpr Names kDbrxNames{.root = "transformer.",
                                  .embedding = "wte",
                                  .layers = "blocks.",
                                  .norm1 = "norm_attn_norm.norm_1",
                                  .norm2 = "norm_attn_norm.norm_2",
                                  .qkv = "norm_attn_norm.attn.Wqkv",
                                  .attention_out = "norm_attn_norm.attn.out_proj",
                                  .router = "ffn.router.layer",
                                  .experts = "ffn.experts.mlp.",
                                  .expert_gate = "w1",
                                  .expert_up = "v1",
                                  .expert_down = "w2",
                                  .final_norm = "norm_f",
                                  .buffers = "rotary_emb.inv_freq"};

inline constexpr Names kGptNeoxNames{
    .root = "gpt_neox.",
    .embedding = "embed_in",
    .layers = "layers.",
    .norm1 = "input_layernorm",
    .norm2 = "post_attention_layernorm",
    .qkv = "attention.query_key_value",
    .attention_out = "attention.dense",
    .up = "mlp.dense_h_to_4h",
    .down = "mlp.dense_4h_to_h",
    .final_norm = "final_layer_norm",
    .head = "embed_out",
    .buffers = "attention.bias|attention.masked_bias|attention.rotary_emb.inv_freq|rotary_emb.inv_freq"};

inline constexpr Names kOptNames{.root = "model.decoder.|decoder.",
                                 .embedding = "embed_tokens",
                                 .positions = "embed_positions",
                                 .project_in = "project_in",
                                 .project_out = "project_out",
                                 .layers = "layers.",
                                 .norm1 = "self_attn_layer_norm",
                                 .norm2 = "final_layer_norm",
                                 .q = "self_attn.q_proj",
                                 .k = "self_attn.k_proj",
                                 .v = "self_attn.v_proj",
                                 .attention_out = "self_attn.out_proj",
                                 .up = "fc1",
                                 .down = "fc2",
                                 .final_norm = "final_layer_norm"};

constexpr Names xglm_names() {
  Names names = kOptNames;
  names.root = "model.";
  names.positions = {};
  names.final_norm = "layer_norm";
  names.buffers = "embed_positions.weights";
  return names;
}

constexpr Names biogpt_names() {
  Names names = kOptNames;
  names.root = "biogpt.";
  names.final_norm = "layer_norm";
  names.head = "output_projection";
  return names;
}

inline constexpr Names kChatGlmNames{.root = "transformer.",
                                     .embedding = "word_embeddings",
                                     .layers = "layers.",
                                     .norm1 = "input_layernorm",
                                     .norm2 = "post_attention_layernorm",
                                     .qkv = "attention.query_key_value",
                                     .attention_out = "attention.dense",
                                     .up = "mlp.dense_h_to_4h",
                                     .down = "mlp.dense_4h_to_h",
                                     .final_norm = "final_layernorm",
                                     .buffers = "rotary_emb.inv_freq|attention_mask"};

inline constexpr Names kChatGlm2Names{.root = "transformer.",
                                      .embedding = "embedding.word_embeddings",
                                      .layers = "encoder.layers.",
                                      .norm1 = "input_layernorm",
                                      .norm2 = "post_attention_layernorm",
                                      .qkv = "self_attention.query_key_value",
                                      .attention_out = "self_attention.dense",
                                      .up = "mlp.dense_h_to_4h",
                                      .down = "mlp.dense_4h_to_h",
                                      .final_norm = "encoder.final_layernorm",
                                      .head = "transformer.output_layer|output_layer",
                                      .buffers = "rotary_pos_emb.inv_freq"};

inline constexpr Names kModernBertNames{.root = "model.",
                                        .embedding = "embeddings.tok_embeddings",
                                        .embedding_norm = "embeddings.norm",
                                        .layers = "layers.",
                                        .norm1 = "attn_norm",
                                        .norm2 = "mlp_norm",
                                        .q = "attn.q_proj",
                                        .k = "attn.k_proj",
                                        .v = "attn.v_proj",
                                        .attention_out = "attn.Wo",
                                        .up = "mlp.Wi",
                                        .down = "mlp.Wo",
                                        .final_norm = "final_norm",
                                        .head = "decoder",
                                        .head_dense = "lm_head.dense",
                                        .head_norm = "lm_head.norm"};

}  // namespace lathe::checkpoint
