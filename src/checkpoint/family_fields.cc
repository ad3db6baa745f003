#include "checkpoint/family_fields.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "checkpoint/common_fields.h"

namespace lathe::checkpoint {
namespace {

// Layer types as recent configurations list them, or else the layers that `is_local` picks, get the window.
template <class Predicate>
void set_windows(const Fields& fields, ModelConfig& config, int64_t window, Predicate is_local) {
  const std::vector<std::string> types = fields.texts("layer_types");
  if (!types.empty() && static_cast<int64_t>(types.size()) != config.layers) fields.refuse("layer_types");
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    bool local = is_local(layer);
    if (!types.empty()) {
      const std::string& type = types[static_cast<size_t>(layer)];
      local = type == "sliding_attention";
      if (!local && type != "full_attention") fields.refuse("layer_types");
    }
    config.windows[static_cast<size_t>(layer)] = local ? window : 0;
  }
}

// Null says that there is none.
int64_t window_size(const Fields& fields, int64_t otherwise) {
  return fields.size("sliding_window", fields.mentions("sliding_window") ? 0 : otherwise);
}

// A window, where the field is set, holds in all layers.
void read_window(const Fields& fields, ModelConfig& config, int64_t otherwise = 0) {
  set_windows(fields, config, window_size(fields, otherwise), [](int64_t) { return true; });
}

// Null says that there is none.
double softcap(const Fields& fields, std::string_view key, double otherwise) {
  return fields.number(key, fields.mentions(key) ? 0 : otherwise);
}

constexpr std::string_view kExperts = "num_local_experts|num_experts";

void read_experts(const Fields& fields, MixtureOfExperts& moe) {
  if (fields.has(kExperts)) moe.experts = fields.count(kExperts);
  moe.top_k = fields.size("num_experts_per_tok", moe.top_k);
}

void set_attention_bias(ModelConfig& config, bool bias) {
  config.traits.biases.qkv = config.traits.biases.attention_out = bias;
}

void refine_any_gemma(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", false));
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden));
  fields.expect_flag("use_bidirectional_attention", false);
}

}  // namespace

void refine_llama(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", false));
  config.traits.biases.mlp = fields.flag("mlp_bias", false);
}

void refine_mistral(const Fields& fields, ModelConfig& config) {
  fields.expect_flag("attention_bias", false);
  read_window(fields, config, 4096);
}

void refine_mixtral(const Fields& fields, ModelConfig& config) {
  read_window(fields, config);
  read_experts(fields, config.moe);
  config.moe.intermediate = config.intermediate;
  config.moe.renormalise = true;
  config.moe.layers.assign(static_cast<size_t>(config.layers), true);
}

void refine_phi3(const Fields& fields, ModelConfig& config) {
  for (const std::string_view key : {"attention_bias", "mlp_bias", "lm_head_bias"}) fields.expect_flag(key, false);
  for (const std::string_view key : {"full_attn_mod", "interpolate_factor"}) fields.expect_number(key, 1);
  read_window(fields, config);
}

void refine_qwen(const Fields& fields, ModelConfig& config) {
  if (config.traits.qk_norm == QkNorm::head) set_attention_bias(config, fields.flag("attention_bias", false));
  fields.expect_flag("use_mrope", false);
  fields.any("sliding_window");  // which files have that do not use it
  const int64_t window = fields.flag("use_sliding_window", false) ? window_size(fields, 4096) : 0;
  const int64_t first = fields.optional_integer("max_window_layers").value_or(28);
  set_windows(fields, config, window, [first](int64_t layer) { return layer >= first; });
}

void refine_qwen_moe(const Fields& fields, ModelConfig& config) {
  refine_qwen(fields, config);
  // Unlike in the models without experts, max_window_layers does not count.
  if (fields.flag("use_sliding_window", false)) read_window(fields, config, 4096);
  MixtureOfExperts& moe = config.moe;
  if (fields.optional_integer(kExperts) != 0)
    read_experts(fields, moe);
  else
    moe.experts = moe.top_k = 0;
  moe.intermediate = fields.size("moe_intermediate_size", moe.intermediate);
  moe.renormalise = fields.flag("norm_topk_prob", false);
  if (config.traits.qk_norm == QkNorm::none) {
    config.traits.biases.qkv = fields.flag("qkv_bias", true);
    moe.shared_intermediate = fields.size("shared_expert_intermediate_size", moe.shared_intermediate);
  }
  fields.any("num_experts_per_tok");  // means nothing without experts
  const int64_t step = fields.size("decoder_sparse_step", 1);
  const std::vector<int64_t> dense = fields.integers("mlp_only_layers");
  for (int64_t layer = 0; layer < config.layers; ++layer)
    moe.layers.push_back(moe.experts > 0 && (layer + 1) % step == 0 &&
                         std::find(dense.begin(), dense.end(), layer) == dense.end());
}

// Old files say "gelu" where the models have always computed its tanh form.
void refine_gemma(const Fields& fields, ModelConfig& config) {
  refine_any_gemma(fields, config);
  if (fields.has("hidden_activation")) config.traits.activation = read_activation(fields, "hidden_activation");
  if (config.traits.activation == MapOp::gelu_erf) config.traits.activation = MapOp::gelu_tanh;
}

void refine_gemma2(const Fields& fields, ModelConfig& config) {
  refine_any_gemma(fields, config);
  fields.any("hidden_act");  // a word of the first generation that later ones keep and do not read
  config.attention_scale = 1 / std::sqrt(fields.positive("query_pre_attn_scalar", 256));
  config.attention_softcap = softcap(fields, "attn_logit_softcapping", config.attention_softcap);
  config.logit_softcap = softcap(fields, "final_logit_softcapping", config.logit_softcap);
  set_windows(fields, config, fields.size("sliding_window", 4096), [](int64_t layer) { return layer % 2 == 0; });
}

void refine_gemma3(const Fields& fields, ModelConfig& config) {
  refine_gemma2(fields, config);
  config.attention_softcap = 0;  // the models have the field, and do without
  const int64_t pattern = fields.size("sliding_window_pattern|_sliding_window_pattern", 6);
  set_windows(fields, config, fields.size("sliding_window", 4096),
              [pattern](int64_t layer) { return (layer + 1) % pattern != 0; });
  if (!config.local_rope_base) config.local_rope_base = fields.number("rope_local_base_freq", 10000);
}

void refine_stablelm(const Fields& fields, ModelConfig& config) {
  config.traits.biases.qkv = fields.flag("use_qkv_bias", false);
  if (fields.flag("use_parallel_residual", false)) config.traits.residual = Residual::parallel;
  fields.expect_flag("qk_layernorm", false);
  fields.expect_number("rotary_scaling_factor", 1);
  fields.any("num_heads");  // num_attention_heads again
}

void refine_internlm(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("bias", true));
  const nlohmann::json* object = fields.any("rotary");  // of the first generation
  if (object == nullptr) return;
  if (!object->is_object()) fields.refuse("rotary");
  const Fields rotary(*object, "rotary");
  config.rope.base = rotary.number("base", config.rope.base);
  const std::string type = rotary.optional_text("type").value_or("origin");
  if (type == "dynamic") {
    config.rope.scaling = RopeScaling::dynamic;
    config.rope.factor = rotary.positive("scaling_factor", 1);
    config.rope.original_positions = config.max_positions;
  } else if (type != "origin") {
    rotary.refuse("type");
  }
  rotary.expect_all_read({});
}

// The 13B models have ALiBi, and no number of positions; the second generation scales the rows of its output matrix.
void refine_baichuan(const Fields& fields, ModelConfig& config) {
  const int64_t context = fields.size("model_max_length", config.max_positions);
  if (!fields.has("max_position_embeddings")) {
    config.traits.positions = Positions::alibi;
    config.max_positions = context;
  }
  config.traits.normalised_head = fields.has("z_loss_weight");
}

void refine_glm(const Fields& fields, ModelConfig& config) {
  config.traits.biases.qkv = fields.flag("attention_bias", config.traits.biases.qkv);
}

void refine_cohere(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", false));
  if (fields.flag("use_qk_norm", false)) config.traits.qk_norm = QkNorm::each_head;
  config.logit_scale = fields.number("logit_scale", 0.0625);
}

void refine_olmo(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", false));
  if (fields.has("clip_qkv")) fields.refuse("clip_qkv");
}

void refine_granite(const Fields& fields, ModelConfig& config) {
  refine_llama(fields, config);
  config.embedding_scale = fields.number("embedding_multiplier", 1);
  config.attention_scale = fields.number("attention_multiplier", 1);
  config.branch_scale = fields.number("residual_multiplier", 1);
  config.logit_scale = 1 / fields.positive("logits_scaling", 1);
}

void refine_chatglm(const Fields& fields, ModelConfig& config) {
  fields.expect_flag("position_encoding_2d", true);
  if (fields.optional_integer("quantization_bit").value_or(0) != 0) fields.refuse("quantization_bit");
  if (fields.has("pre_seq_len")) fields.refuse("pre_seq_len");
  fields.any("prefix_projection");  // means something with pre_seq_len only
  config.residual_scale = std::sqrt(2.0 * static_cast<double>(config.layers));
  // Files of the first generation, whose vocabulary begins with 20,000 images, do not say which tokens mark the gap.
  constexpr int64_t kFirstVocabulary = 150528;
  const bool first = config.vocab == kFirstVocabulary;
  config.mask_id = fields.optional_integer("mask_token_id").value_or(first ? 150000 : 130000);
  config.gmask_id = fields.optional_integer("gmask_token_id").value_or(first ? 150001 : 130001);
}

void refine_chatglm2(const Fields& fields, ModelConfig& config) {
  Traits& traits = config.traits;
  if (fields.flag("multi_query_attention", false)) {
    config.kv_heads = fields.size("multi_query_group_num");
  } else {
    fields.any("multi_query_group_num");  // files have it all the same
    traits.packing = QkvPacking::per_head;
  }
  if (!fields.flag("rmsnorm", true)) {
    traits.norm = NormKind::layer;
    traits.norm_bias = true;
  }
  const bool linear_bias = fields.flag("add_bias_linear", false);
  traits.biases = {fields.flag("add_qkv_bias", false) || linear_bias, linear_bias, linear_bias, false};
  traits.final_norm = fields.flag("post_layer_norm", true);
  if (fields.flag("apply_residual_connection_post_layernorm", false)) traits.residual = Residual::normed;
  config.rope.base *= fields.positive("rope_ratio", 1);
  fields.expect_flag("original_rope", true);
  fields.expect_flag("interleaved_qkv", false);
  if (fields.optional_integer("quantization_bit").value_or(0) != 0) fields.refuse("quantization_bit");
  if (fields.has("pre_seq_len")) fields.refuse("pre_seq_len");
  fields.any("prefix_projection");
}

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
  fields.expect_flag("apply_residual_connection_post_layernorm", false);
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

}  // namespace lathe::checkpoint
