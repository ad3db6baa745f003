// The families with mixtures of experts.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "checkpoint/common_fields.h"
#include "checkpoint/family_fields.h"

namespace lathe::checkpoint {
namespace {

constexpr std::string_view kExperts = "num_local_experts|num_experts";

void read_experts(const Fields& fields, MixtureOfExperts& moe) {
  if (fields.has(kExperts)) moe.experts = fields.count(kExperts);
  moe.top_k = fields.size("num_experts_per_tok", moe.top_k);
}

// Layers from the first sparse one on have experts.
void set_sparse_layers(ModelConfig& config, int64_t first) {
  for (int64_t layer = 0; layer < config.layers; ++layer) config.moe.layers.push_back(layer >= first);
}

// Recent files list the layers with experts, whatever else they say of them.
void read_sparse_layers(const Fields& fields, ModelConfig& config, int64_t first) {
  first = fields.optional_integer("first_k_dense_replace|num_dense_layers").value_or(first);
  const std::vector<std::string> types = fields.texts("mlp_layer_types");
  if (types.empty()) return set_sparse_layers(config, first);
  if (static_cast<int64_t>(types.size()) != config.layers) fields.refuse("mlp_layer_types");
  for (const std::string& type : types) {
    if (type != "sparse" && type != "dense") fields.refuse("mlp_layer_types");
    config.moe.layers.push_back(type == "sparse");
  }
}

// How many there are of something that there may be none of.
int64_t count_or_none(const Fields& fields, std::string_view key, int64_t otherwise) {
  return fields.optional_integer(key) == 0 ? 0 : fields.size(key, fields.mentions(key) ? 0 : otherwise);
}

// What holds of a family's experts where config.json does not say.
struct Grouping {
  int64_t shared = 0, groups = 1, top_groups = 1, first_sparse = 0;
  double scale = 1;
  bool renormalise = false;
};

// Experts by DeepSeek's names: some that every token uses, the others in groups.
void read_grouped_experts(const Fields& fields, ModelConfig& config, const Grouping& otherwise) {
  MixtureOfExperts& moe = config.moe;
  constexpr std::string_view kRouted = "n_routed_experts|num_experts";
  if (moe.experts == 0 || fields.has(kRouted)) moe.experts = fields.count(kRouted);
  if (moe.top_k == 0 || fields.has("num_experts_per_tok")) moe.top_k = fields.size("num_experts_per_tok");
  moe.intermediate = fields.size("moe_intermediate_size", moe.intermediate);
  moe.shared_intermediate =
      count_or_none(fields, "n_shared_experts|num_shared_experts", otherwise.shared) * moe.intermediate;
  moe.groups = fields.size("n_group", otherwise.groups);
  moe.top_groups = fields.size("topk_group", otherwise.top_groups);
  moe.scale = fields.positive("routed_scaling_factor|router_scaling_factor|route_scale", otherwise.scale);
  if (moe.experts % moe.groups != 0 || moe.top_groups > moe.groups) fields.refuse("n_group");
  if (moe.top_k > moe.experts / moe.groups * moe.top_groups) fields.refuse("n_group");
  fields.expect_number("moe_layer_freq", 1);
  read_sparse_layers(fields, config, otherwise.first_sparse);
  for (const std::string_view key : {"aux_loss_alpha", "seq_aux", "ep_size"}) fields.any(key);  // of training
}

// The third generation scores experts one by one, and a learned term steers which are chosen.
void read_steered_experts(const Fields& fields, ModelConfig& config, const Grouping& otherwise) {
  MixtureOfExperts& moe = config.moe;
  read_grouped_experts(fields, config, otherwise);
  if (fields.optional_text("scoring_func").value_or("sigmoid") != "sigmoid") fields.refuse("scoring_func");
  if (fields.optional_text("topk_method").value_or("noaux_tc") != "noaux_tc") fields.refuse("topk_method");
  moe.sigmoid = moe.corrected = true;
  moe.group_leaders = 2;
  if (moe.top_groups < moe.groups && moe.experts / moe.groups < moe.group_leaders) fields.refuse("n_group");
  moe.renormalise = fields.flag("norm_topk_prob", otherwise.renormalise);
  fields.any("num_nextn_predict_layers");  // layers behind the last that only training and drafting use
}

// Scores are scaled once more for contexts that YaRN stretched, by as much as it enlarges what turns.
void read_latent_attention(const Fields& fields, ModelConfig& config) {
  config.latent.q_rank = fields.size("q_lora_rank", fields.mentions("q_lora_rank") ? 0 : 1536);
  config.latent.kv_rank = fields.size("kv_lora_rank", 512);
  config.rope.dim = fields.size("qk_rope_head_dim", 64);
  config.head_dim = fields.size("qk_nope_head_dim", 128) + config.rope.dim;
  config.value_dim = fields.size("v_head_dim", 128);
  fields.any("qk_head_dim");       // the sum of the two
  config.kv_heads = config.heads;  // whatever the file says
  config.attention_scale = 1 / std::sqrt(static_cast<double>(config.head_dim));
  const nlohmann::json* scaling = fields.any("rope_scaling|rope_parameters");
  if (scaling != nullptr && scaling->is_object() && config.rope.factor > 1) {
    const double strength = Fields(*scaling, "rope_scaling").number("mscale_all_dim", 0);
    const double magnitude = 0.1 * strength * std::log(config.rope.factor) + 1;
    config.attention_scale *= magnitude * magnitude;
  }
  set_attention_bias(config, fields.flag("attention_bias", false));
}

}  // namespace

void refine_mixtral(const Fields& fields, ModelConfig& config) {
  read_window(fields, config);
  read_experts(fields, config.moe);
  config.moe.intermediate = config.intermediate;
  config.moe.renormalise = true;
  config.moe.layers.assign(static_cast<size_t>(config.layers), true);
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
    moe.shared_gate = true;
  }
  fields.any("num_experts_per_tok");  // means nothing without experts
  const int64_t step = fields.size("decoder_sparse_step", 1);
  const std::vector<int64_t> dense = fields.integers("mlp_only_layers");
  for (int64_t layer = 0; layer < config.layers; ++layer)
    moe.layers.push_back(moe.experts > 0 && (layer + 1) % step == 0 &&
                         std::find(dense.begin(), dense.end(), layer) == dense.end());
}

void refine_qwen_vl_moe(const Fields& fields, ModelConfig& config) {
  refine_qwen_moe(fields, config);
  config.moe.store = ExpertStore::stacked_transposed;
  config.moe.renormalise = true;  // whatever the file says
}

void refine_olmoe(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", false));
  if (fields.has("clip_qkv")) config.qkv_limit = fields.positive("clip_qkv", 0);
  read_experts(fields, config.moe);
  config.moe.intermediate = config.intermediate;
  config.moe.renormalise = fields.flag("norm_topk_prob", false);
  set_sparse_layers(config, 0);
}

// The weights of the chosen experts are a softmax over their scores alone, which is the one over all, renormalised.
void refine_granitemoe(const Fields& fields, ModelConfig& config) {
  refine_granite(fields, config);
  if (fields.optional_text("position_embedding_type").value_or("rope") != "rope")
    fields.refuse("position_embedding_type");
  read_experts(fields, config.moe);
  config.moe.intermediate = config.intermediate;
  config.moe.renormalise = true;
  config.moe.shared_intermediate = count_or_none(fields, "shared_intermediate_size", 0);
  config.moe.store = ExpertStore::stacked;
  set_sparse_layers(config, 0);
}

void refine_granitemoe_swa(const Fields& fields, ModelConfig& config) {
  refine_granitemoe(fields, config);
  refine_granite_swa(fields, config);
}

void refine_phimoe(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", false));
  config.traits.biases.head = fields.flag("lm_head_bias", false);
  read_window(fields, config);
  read_experts(fields, config.moe);
  if (config.moe.top_k != 2) fields.refuse("num_experts_per_tok");
  config.moe.intermediate = config.intermediate;
  config.moe.nearness = 2 * fields.positive("router_jitter_noise", 0.01);
  fields.any("input_jitter_noise");  // of training
  set_sparse_layers(config, 0);
}

void refine_deepseek(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", false));
  read_grouped_experts(fields, config, {});
  config.moe.renormalise = fields.flag("norm_topk_prob", false);
  if (fields.optional_text("scoring_func").value_or("softmax") != "softmax") fields.refuse("scoring_func");
}

void refine_deepseek_v2(const Fields& fields, ModelConfig& config) {
  read_latent_attention(fields, config);
  config.traits.biases.mlp = fields.flag("mlp_bias", false);
  read_grouped_experts(fields, config, {.shared = 2});
  const std::string method = fields.optional_text("topk_method").value_or("greedy");
  if (method == "greedy")
    config.moe.groups = config.moe.top_groups = 1;
  else if (method != "group_limited_greedy")
    fields.refuse("topk_method");
  fields.expect_flag("norm_topk_prob", false);
  if (fields.optional_text("scoring_func").value_or("softmax") != "softmax") fields.refuse("scoring_func");
}

void refine_deepseek_v3(const Fields& fields, ModelConfig& config) {
  read_latent_attention(fields, config);
  config.traits.interleaved = fields.flag("rope_interleave", true);
  read_steered_experts(
      fields, config,
      {.shared = 1, .groups = 8, .top_groups = 4, .first_sparse = 3, .scale = 2.5, .renormalise = true});
}

void refine_glm4_moe(const Fields& fields, ModelConfig& config) {
  config.traits.biases.qkv = fields.flag("attention_bias", false);
  if (fields.flag("use_qk_norm", false)) config.traits.qk_norm = QkNorm::head;
  read_steered_experts(fields, config, {.shared = 1, .first_sparse = 1, .renormalise = true});
}

void refine_glm4_moe_lite(const Fields& fields, ModelConfig& config) {
  read_latent_attention(fields, config);
  config.traits.interleaved = fields.flag("rope_interleave", true);
  read_steered_experts(fields, config, {.shared = 1, .first_sparse = 1, .scale = 1.8, .renormalise = true});
}

void refine_solar_open(const Fields& fields, ModelConfig& config) {
  config.traits.biases.qkv = fields.flag("attention_bias", false);
  fields.expect_flag("use_qk_norm", false);
  read_steered_experts(fields, config, {.shared = 1, .renormalise = true});
}

void refine_exaone_moe(const Fields& fields, ModelConfig& config) {
  refine_exaone4(fields, config);
  read_steered_experts(fields, config, {.shared = 1, .first_sparse = 1, .scale = 2.5, .renormalise = true});
}

void refine_hy_v3(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", false));
  fields.expect_flag("mlp_bias", false);
  read_steered_experts(fields, config, {.shared = 1, .first_sparse = 1, .scale = 2.826, .renormalise = true});
  fields.any("enable_moe_fp32_combine");  // of the type of a sum
}

void refine_afmoe(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", false));
  const int64_t interval = fields.size("global_attn_every_n_layers", 4);
  set_windows(fields, config, fields.size("sliding_window", 1024),
              [interval](int64_t layer) { return (layer + 1) % interval != 0; });
  leave_global_layers_unrotated(config);
  if (fields.flag("mup_enabled", false)) config.embedding_scale = std::sqrt(static_cast<double>(config.hidden));
  read_steered_experts(fields, config, {.shared = 2, .first_sparse = 1, .renormalise = true});
  if (fields.optional_text("score_func").value_or("sigmoid") != "sigmoid") fields.refuse("score_func");
  fields.expect_flag("route_norm", true);
  for (const std::string_view key : {"num_expert_groups", "num_limited_groups"}) fields.expect_number(key, 1);
  for (const std::string_view key : {"load_balance_coeff", "use_grouped_mm"}) fields.any(key);
}

void refine_minimax_m2(const Fields& fields, ModelConfig& config) {
  if (fields.has("rotary_dim")) config.rope.dim = fields.size("rotary_dim");
  MixtureOfExperts& moe = config.moe;
  read_experts(fields, moe);
  moe.intermediate = config.intermediate;
  moe.sigmoid = moe.corrected = moe.renormalise = true;
  set_sparse_layers(config, 0);
  if (fields.optional_text("scoring_func").value_or("sigmoid") != "sigmoid") fields.refuse("scoring_func");
  for (const std::string_view key : {"use_qk_norm", "use_routing_bias"}) fields.expect_flag(key, true);
  if (fields.optional_text("qk_norm_type").value_or("per_layer") != "per_layer") fields.refuse("qk_norm_type");
  fields.expect_number("shared_intermediate_size", 0);
  const std::vector<int64_t> kinds = fields.integers("attn_type_list");  // 1: attention as everywhere
  if (std::count(kinds.begin(), kinds.end(), 1) != std::ssize(kinds)) fields.refuse("attn_type_list");
  for (const std::string_view key : {"mtp_transformer_layers", "num_mtp_modules", "use_mtp"}) fields.any(key);
}

void refine_youtu(const Fields& fields, ModelConfig& config) {
  read_latent_attention(fields, config);
  config.traits.interleaved = fields.flag("rope_interleave", true);
  fields.expect_flag("mlp_bias", false);
  fields.any("embedding_initializer_range");
}

void refine_minicpm3(const Fields& fields, ModelConfig& config) {
  refine_minicpm(fields, config);
  read_latent_attention(fields, config);
  if (!fields.has("v_head_dim")) config.value_dim = config.hidden / config.heads;
}

void refine_dots1(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", false));
  const int64_t first = fields.optional_integer("max_window_layers").value_or(62);
  set_windows(fields, config, window_size(fields, 4096), [first](int64_t layer) { return layer >= first; });
  read_steered_experts(fields, config, {});
}

// The weights of the chosen experts are a softmax over their scores alone, as with GraniteMoe.
void refine_gpt_oss(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", true));
  config.traits.activation = Activation::gelu_sigmoid;  // whatever the file says
  MixtureOfExperts& moe = config.moe;
  read_experts(fields, moe);
  moe.intermediate = config.intermediate;
  moe.renormalise = true;
  moe.store = ExpertStore::stacked_transposed;
  moe.swiglu_limit = fields.positive("swiglu_limit", 7);
  fields.expect_number("swiglu_alpha", 1.702);
  set_sparse_layers(config, 0);
  set_windows(fields, config, fields.size("sliding_window", 128), [](int64_t layer) { return layer % 2 == 0; });
  for (const std::string_view key : {"experts_per_token", "initial_context_length"}) fields.any(key);  // said elsewhere
}

void refine_llama4(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", false));
  config.traits.qk_norm = fields.flag("use_qk_norm", true) ? QkNorm::unit : QkNorm::none;
  read_unrotated_layers(fields, config);
  config.chunked = true;
  set_windows(fields, config, fields.size("attention_chunk_size", 8192),
              [&](int64_t layer) { return !config.unrotated[static_cast<size_t>(layer)]; });
  const nlohmann::json* tuning = fields.any("attn_temperature_tuning");  // files have numbers there, too
  config.temperature = {fields.number("attn_scale", 0.1), fields.positive("floor_scale", 8192)};
  if (tuning != nullptr && (*tuning == false || *tuning == 0)) config.temperature.strength = 0;

  MixtureOfExperts& moe = config.moe;
  read_experts(fields, moe);
  moe.intermediate = moe.shared_intermediate = fields.size("intermediate_size", 8192);
  config.intermediate = fields.size("intermediate_size_mlp", 16384);
  moe.sigmoid = moe.scaled_inputs = true;
  moe.store = ExpertStore::stacked_transposed;
  const std::vector<int64_t> sparse = fields.integers("moe_layers");
  const int64_t step = fields.size("interleave_moe_layer_step", 1);
  for (int64_t layer = 0; layer < config.layers; ++layer)
    moe.layers.push_back(fields.has("moe_layers") ? std::find(sparse.begin(), sparse.end(), layer) != sparse.end()
                                                  : (layer + 1) % step == 0);
  fields.any("for_llm_compressor");
}

void refine_dbrx(const Fields& fields, ModelConfig& config) {
  const nlohmann::json none = nlohmann::json::object();
  const auto part = [&](std::string_view key) -> const nlohmann::json& {
    const nlohmann::json* object = fields.any(key);
    if (object != nullptr && !object->is_object()) fields.refuse(key);
    return object == nullptr ? none : *object;
  };
  const Fields attention(part("attn_config"), "attn_config"), mlp(part("ffn_config"), "ffn_config");
  config.kv_heads = attention.size("kv_n_heads", 1);
  config.rope.base = attention.number("rope_theta", config.rope.base);
  if (attention.has("clip_qkv")) config.qkv_limit = attention.positive("clip_qkv", 0);

  MixtureOfExperts& moe = config.moe;
  moe.intermediate = mlp.size("ffn_hidden_size", 3584);
  moe.experts = mlp.has("moe_num_experts") ? mlp.count("moe_num_experts") : 4;
  moe.top_k = mlp.size("moe_top_k", 1);
  moe.renormalise = !mlp.mentions("moe_normalize_expert_weights") || mlp.has("moe_normalize_expert_weights");
  mlp.expect_number("moe_normalize_expert_weights", 1);  // the norm by which they sum to 1
  moe.store = ExpertStore::stacked_ends;
  set_sparse_layers(config, 0);
  if (const nlohmann::json* activation = mlp.any("ffn_act_fn"); activation != nullptr && activation->is_object())
    config.traits.activation = read_activation(Fields(*activation, "ffn_act_fn"), "name");
  for (const std::string_view key : {"hidden_size", "moe_jitter_eps", "moe_loss_weight", "uniform_expert_assignment"})
    mlp.any(key);
  for (const Fields* inner : {&attention, &mlp}) {
    inner->expect_flag("is_encoder_decoder", false);
    inner->expect_all_read(neutral_fields());
  }
  for (const std::string_view key : {"emb_pdrop", "num_key_value_heads"}) fields.any(key);  // kv_n_heads again
}

void refine_hunyuan_moe(const Fields& fields, ModelConfig& config) {
  refine_hunyuan(fields, config);
  const auto same = [&](std::string_view key) {  // one number, or the same for every layer
    const std::vector<int64_t> numbers = fields.integers(key);
    if (numbers.empty()) return int64_t{1};
    if (numbers[0] < 1 || std::count(numbers.begin(), numbers.end(), numbers[0]) != std::ssize(numbers))
      fields.refuse(key);
    return numbers[0];
  };
  MixtureOfExperts& moe = config.moe;
  moe.experts = same("num_experts");
  moe.top_k = same("moe_topk");
  moe.intermediate = moe.shared_intermediate = config.intermediate;
  moe.renormalise = true;
  set_sparse_layers(config, 0);
}

// Layers with recurrent state are not for this table: without them, this is Granite, with positions or without.
void refine_granite_hybrid(const Fields& fields, ModelConfig& config) {
  refine_granite(fields, config);
  const std::vector<std::string> types = fields.texts("layer_types");
  const auto is_attention = [](const std::string& type) { return type == "attention" || type == "full_attention"; };
  if (std::count_if(types.begin(), types.end(), is_attention) != config.layers) fields.refuse("layer_types");
  const std::string positions = fields.optional_text("position_embedding_type").value_or("nope");
  if (positions == "nope")
    config.unrotated.assign(static_cast<size_t>(config.layers), true);
  else if (positions != "rope")
    fields.refuse("position_embedding_type");
  MixtureOfExperts& moe = config.moe;
  moe.intermediate = config.intermediate;
  config.intermediate = moe.shared_intermediate = fields.size("shared_intermediate_size", 1024);
  moe.renormalise = true;
  moe.store = ExpertStore::stacked;
  if (fields.optional_integer(kExperts) != 0) {
    read_experts(fields, moe);
    set_sparse_layers(config, 0);
  } else {
    fields.any("num_experts_per_tok");
    moe.experts = moe.top_k = 0;
  }
  for (const std::string_view key :
       {"mamba_n_heads", "mamba_n_groups", "mamba_d_state", "mamba_d_head", "mamba_d_conv", "mamba_expand",
        "mamba_chunk_size", "mamba_conv_bias", "mamba_proj_bias", "normalization_function", "layers_block_type",
        "time_step_limit", "time_step_max", "time_step_min"})
    fields.any(key);
}

void refine_ernie_moe(const Fields& fields, ModelConfig& config) {
  refine_ernie(fields, config);
  MixtureOfExperts& moe = config.moe;
  moe.experts = fields.count("moe_num_experts");
  moe.top_k = fields.size("moe_k", 6);
  moe.intermediate = fields.size("moe_intermediate_size", 1536);
  moe.shared_intermediate = count_or_none(fields, "moe_num_shared_experts", 2) * moe.intermediate;
  moe.corrected = moe.renormalise = true;
  const int64_t first = fields.optional_integer("moe_layer_start_index").value_or(1);
  const int64_t last = fields.optional_integer("moe_layer_end_index").value_or(-1);
  const int64_t interval = fields.size("moe_layer_interval", 1);
  for (int64_t layer = 0; layer < config.layers; ++layer)
    moe.layers.push_back((layer + 1) % interval == 0 && layer >= first && (last == -1 || layer <= last));
  fields.any("moe_norm_min");  // holds the sum of a few positive numbers away from 0
}

}  // namespace lathe::checkpoint
