// The families that descend from GPT-2.
#include <cmath>

#include "base/error.h"
#include "checkpoint/common_fields.h"
#include "checkpoint/family_fields.h"

namespace lathe::checkpoint {

void refine_bloom(const Fields& fields, ModelConfig& config) {
  const int64_t slices = fields.optional_integer("pretraining_tp").value_or(1);
  if (fields.flag("slow_but_exact", false) && slices > 1)
    fail(ErrorCode::unsupported,
         "config.json: Lathe does not compute products in {} slices ('slow_but_exact' with 'pretraining_tp')", slices);
  if (fields.flag("apply_residual_connection_post_layernorm", false)) config.traits.residual = Residual::normed;
}

// Three generations: 7B (one key/value head), 40B and 180B (groups, two norms) and RW (ALiBi, one block after another).
void refine_falcon(const Fields& fields, ModelConfig& config) {
  Traits& traits = config.traits;
  const bool multi_query = fields.flag("multi_query", true), parallel = fields.flag("parallel_attn", true);
  const auto kv_heads = fields.optional_integer("num_kv_heads|n_head_kv");
  if (fields.flag("new_decoder_architecture", fields.optional_text("model_type") == "RefinedWeb")) {
    config.kv_heads = kv_heads.value_or(config.heads);
    traits.packing = QkvPacking::per_group;
    if (fields.optional_integer("num_ln_in_parallel_attn").value_or(2) == 2) {
      traits.residual = Residual::parallel_norms;
      config.names.norm1 = "ln_attn";
      config.names.norm2 = "ln_mlp";
    }
  } else {
    fields.any("num_ln_in_parallel_attn");
    config.kv_heads = multi_query ? 1 : config.heads;
    if (!multi_query) traits.packing = QkvPacking::per_head;
    if (!parallel) traits.residual = Residual::sequential;
  }
  fields.any("apply_residual_connection_post_layernorm");  // the models have it, and do without
  const bool bias = fields.flag("bias", false);
  traits.biases = {bias, bias, bias, false};
  if (fields.flag("alibi", false)) {
    traits.positions = Positions::alibi;
    config.alibi_scale = config.attention_scale;  // the bias is added to the products before they are scaled
  }
}

void refine_gpt2(const Fields& fields, ModelConfig& config) {
  if (!fields.flag("scale_attn_weights", true)) config.attention_scale = 1;
  if (!fields.flag("scale_attn_by_inverse_layer_idx", false)) return;
  for (int64_t layer = 0; layer < config.layers; ++layer)
    config.layer_scales.push_back(1 / static_cast<double>(layer + 1));
}

// A GPT-2 with slopes, three matrices in its MLP, and scales that do not change with the width of the model (muP).
void refine_jais(const Fields& fields, ModelConfig& config) {
  const std::string activation = fields.optional_text("activation_function").value_or("gelu");
  if (activation == "swiglu") {
    config.traits.mlp = MlpKind::gated;
    config.traits.activation = Activation::silu;
  } else {
    config.traits.activation = read_activation(fields, "activation_function");
  }
  const std::string positions = fields.optional_text("position_embedding_type").value_or("learned");
  if (positions == "alibi")
    config.traits.positions = Positions::alibi;
  else if (positions != "learned")
    fields.refuse("position_embedding_type");
  refine_gpt2(fields, config);
  if (fields.flag("mup_scale_qk_dot_by_d|scale_qk_dot_by_d", false)) config.attention_scale *= config.attention_scale;
  config.embedding_scale = fields.number("embeddings_scale|mup_embeddings_scale", 1);
  config.logit_scale = fields.has("width_scale")
                           ? fields.number("width_scale")
                           : fields.number("mup_output_alpha", 1) * fields.number("mup_width_scale", 1);
}

void refine_gpt_bigcode(const Fields& fields, ModelConfig& config) {
  if (!fields.flag("scale_attn_weights", true)) config.attention_scale = 1;
  fields.any("num_key_value_heads");  // follows from multi_query
  if (fields.flag("multi_query", true))
    config.kv_heads = 1;
  else
    config.traits.packing = QkvPacking::per_head;
}

void refine_gpt_neo(const Fields& fields, ModelConfig& config) {
  config.attention_scale = 1;
  std::vector<std::string> kinds = fields.texts("attention_layers");
  if (const nlohmann::json* types = fields.any("attention_types"); types != nullptr && kinds.empty()) {
    for (const nlohmann::json& group : *types) {  // [["global", "local"], 12]: the list, so many times
      if (!group.is_array() || group.size() != 2 || !group[0].is_array() || group[0].empty() ||
          !group[1].is_number_unsigned())
        fields.refuse("attention_types");
      for (uint64_t i = 0; i < group[1].get<uint64_t>() && kinds.size() < static_cast<size_t>(config.layers); ++i)
        for (const nlohmann::json& kind : group[0]) kinds.push_back(kind.is_string() ? kind.get<std::string>() : "");
    }
  }
  if (kinds.size() != static_cast<size_t>(config.layers)) fields.refuse("attention_layers|attention_types");
  const int64_t window = fields.size("window_size", 256);
  for (size_t layer = 0; layer < kinds.size(); ++layer) {
    if (kinds[layer] != "global" && kinds[layer] != "local") fields.refuse("attention_layers|attention_types");
    config.windows[layer] = kinds[layer] == "local" ? window : 0;
  }
}

void refine_gptj(const Fields& fields, ModelConfig& config) {
  fields.expect_flag("rotary", true);
  fields.expect_flag("scale_attn_weights", true);
  config.rope.dim = fields.mentions("rotary_dim") ? fields.size("rotary_dim") : 64;
}

void refine_gpt_neox(const Fields& fields, ModelConfig& config) {
  if (!fields.flag("use_parallel_residual", true)) config.traits.residual = Residual::sequential;
  set_attention_bias(config, fields.flag("attention_bias", true));
}

void refine_opt(const Fields& fields, ModelConfig& config) {
  Traits& traits = config.traits;
  fields.expect_flag("learned_embeddings", true);
  fields.expect_flag("scale_embeddings", false);
  const bool norm_first = fields.flag("do_layer_norm_before", true);
  if (!norm_first) traits.residual = Residual::post_norm;
  traits.final_norm = norm_first && !fields.flag("_remove_final_layer_norm", false);
  const bool bias = fields.flag("enable_bias", true);
  traits.biases = {bias, bias, bias, false};
  traits.norm_scale = traits.norm_bias = fields.flag("layer_norm_elementwise_affine", true);
  config.embedding_width = fields.size("word_embed_proj_dim", config.hidden);
}

void refine_phi(const Fields& fields, ModelConfig& config) {
  if (fields.flag("qk_layernorm", false)) config.traits.qk_norm = QkNorm::head;
}

void refine_starcoder2(const Fields& fields, ModelConfig& config) {
  if (fields.optional_text("norm_type").value_or("layer_norm") != "layer_norm") fields.refuse("norm_type");
  if (fields.optional_text("mlp_type").value_or("default") != "default") fields.refuse("mlp_type");
  fields.expect_flag("scale_attn_weights", true);
  fields.any("activation_function|layer_norm_epsilon");  // of the configuration before Transformers knew the family
  const bool bias = fields.flag("use_bias", true);
  config.traits.biases = {bias, bias, bias, false};
  read_window(fields, config);
}

void refine_codegen(const Fields& fields, ModelConfig& config) {
  if (config.heads % 4 != 0)
    fail(ErrorCode::invalid_model, "config.json: {} heads cannot be stored in four quarters", config.heads);
  config.rope.dim = fields.mentions("rotary_dim") ? fields.size("rotary_dim") : 64;
  fields.expect_flag("rotary", true);
}

void refine_mpt(const Fields& fields, ModelConfig& config) {
  fields.expect_flag("no_bias", true);
  fields.expect_number("expansion_ratio", 4);
  for (const std::string_view key :
       {"logit_scale", "init_device", "init_config", "verbose", "norm_type", "tokenizer_name", "embedding_fraction",
        "emb_pdrop", "learned_pos_emb", "fc_type", "ffn_config"})
    fields.any(key);  // of training; ALiBi has the place of learned positions
  const nlohmann::json* object = fields.any("attn_config");
  if (object == nullptr) return;
  if (!object->is_object()) fields.refuse("attn_config");
  const Fields attention(*object, "attn_config");
  attention.expect_flag("alibi", true);
  attention.expect_number("alibi_bias_max", 8);
  for (const std::string_view key : {"prefix_lm", "qk_ln", "attn_uses_sequence_id", "qk_gn"})
    attention.expect_flag(key, false);
  if (attention.optional_text("attn_type").value_or("multihead_attention") != "multihead_attention")
    attention.refuse("attn_type");
  if (attention.has("clip_qkv")) config.qkv_limit = attention.positive("clip_qkv", 0);
  config.attention_scale = attention.positive("softmax_scale", config.attention_scale);
  attention.any("attn_impl");
  attention.expect_flag("is_encoder_decoder", false);
  attention.expect_all_read(neutral_fields());
}

void refine_ctrl(const Fields&, ModelConfig& config) {
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden));
}

void refine_persimmon(const Fields& fields, ModelConfig& config) {
  if (fields.flag("qk_layernorm", true)) config.traits.qk_norm = QkNorm::head;
}

// Positions below the offset do not occur, so that the row of padding, which holds zeros, is not read.
void refine_xglm(const Fields& fields, ModelConfig& config) {
  if (fields.flag("scale_embedding", true)) config.embedding_scale = std::sqrt(static_cast<double>(config.hidden));
  if (fields.optional_integer("pad_token_id").value_or(1) >= config.traits.position_offset)
    fields.refuse("pad_token_id");
  if (config.hidden % 2 != 0 || config.hidden < 4) fields.refuse("d_model");
}

void refine_biogpt(const Fields& fields, ModelConfig& config) {
  fields.any("layer_norm_eps");  // the models have it, and do without
  if (fields.flag("scale_embedding", true)) config.embedding_scale = std::sqrt(static_cast<double>(config.hidden));
}

// The first GPT says "gelu" for its tanh form.
void refine_gpt1(const Fields& fields, ModelConfig& config) {
  if (config.traits.activation == Activation::gelu_erf) config.traits.activation = Activation::gelu_tanh;
  fields.any("n_special|predict_special_tokens");
}

}  // namespace lathe::checkpoint
