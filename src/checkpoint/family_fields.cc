#include "checkpoint/family_fields.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "checkpoint/common_fields.h"

namespace lathe::checkpoint {
namespace {

// Null says that there is none.
double softcap(const Fields& fields, std::string_view key, double otherwise) {
  return fields.number(key, fields.mentions(key) ? 0 : otherwise);
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

void refine_ministral3(const Fields& fields, ModelConfig& config) {
  fields.expect_flag("attention_bias", false);
  read_window(fields, config);
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

// Files of the first kind say in one object how the model reads and how it sees.
void refine_qwen_vl(const Fields& fields, ModelConfig& config) {
  refine_qwen(fields, config);
  for (const std::string_view key : {"vision_config", "image_token_id", "video_token_id", "vision_token_id",
                                     "vision_start_token_id", "vision_end_token_id"})
    fields.any(key);
}

// Old files say "gelu" where the models have always computed its tanh form.
void refine_gemma(const Fields& fields, ModelConfig& config) {
  refine_any_gemma(fields, config);
  if (fields.has("hidden_activation")) config.traits.activation = read_activation(fields, "hidden_activation");
  if (config.traits.activation == Activation::gelu_erf) config.traits.activation = Activation::gelu_tanh;
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
  if (fields.flag("qk_layernorm", false)) config.traits.qk_norm = QkNorm::each_head;
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
  if (fields.has("clip_qkv")) config.qkv_limit = fields.positive("clip_qkv", 0);
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

void refine_ernie(const Fields& fields, ModelConfig& config) {
  const bool bias = fields.flag("use_bias", false);
  config.traits.biases = {bias, bias, bias, false};
}

// Where some layers have windows, the others know no positions.
void refine_exaone4(const Fields& fields, ModelConfig& config) {
  const int64_t window = window_size(fields, 4096);
  const bool listed = fields.has("layer_types");
  if (listed) fields.any("sliding_window_pattern");  // which may be a word then
  const int64_t pattern = listed || window == 0 ? 1 : fields.size("sliding_window_pattern", 4);
  set_windows(fields, config, window, [pattern](int64_t layer) { return (layer + 1) % pattern != 0; });
  if (window > 0) leave_global_layers_unrotated(config);
}

void refine_cohere2(const Fields& fields, ModelConfig& config) {
  refine_cohere(fields, config);
  const int64_t pattern = fields.size("sliding_window_pattern|_sliding_window_pattern", 4);
  set_windows(fields, config, fields.size("sliding_window", 4096),
              [pattern](int64_t layer) { return (layer + 1) % pattern != 0; });
  leave_global_layers_unrotated(config);
}

void refine_helium(const Fields& fields, ModelConfig& config) {
  config.traits.biases = {.qkv = fields.flag("attention_bias", false), .mlp = fields.flag("mlp_bias", false)};
}

void refine_olmo3(const Fields& fields, ModelConfig& config) {
  refine_llama(fields, config);
  set_windows(fields, config, fields.size("sliding_window", 4096), [](int64_t layer) { return (layer + 1) % 4 != 0; });
  if (config.rope.scaling != RopeScaling::none) config.local_rope_base = config.rope.base;
}

void refine_seed_oss(const Fields& fields, ModelConfig& config) {
  config.traits.biases = {.qkv = fields.flag("attention_bias", true),
                          .attention_out = fields.flag("attention_out_bias", false),
                          .mlp = fields.flag("mlp_bias", false)};
}

void refine_smollm3(const Fields& fields, ModelConfig& config) {
  refine_llama(fields, config);
  read_unrotated_layers(fields, config);
  const int64_t window = window_size(fields, 0);
  set_windows(fields, config, fields.flag("use_sliding_window", false) ? window : 0,
              [&](int64_t layer) { return config.unrotated[static_cast<size_t>(layer)]; });
  fields.any("max_window_layers");  // Qwen's, of no effect here
}

void refine_hunyuan(const Fields& fields, ModelConfig& config) {
  fields.any("eod_token_id");
  set_attention_bias(config, fields.flag("attention_bias", false));
}

// The first Qwen: its two ways to stretch contexts set in beyond `seq_length`, which is where contexts end here.
void refine_qwen1(const Fields& fields, ModelConfig& config) {
  if (config.intermediate % 2 != 0) fields.refuse("intermediate_size");
  config.intermediate /= 2;
  fields.expect_flag("no_bias", true);
  for (const std::string_view key :
       {"use_dynamic_ntk", "use_logn_attn", "bf16", "fp16", "fp32", "onnx_safe", "emb_dropout_prob",
        "attn_dropout_prob", "softmax_in_fp32", "use_cache_quantization", "use_cache_kernel", "scale_attn_weights"})
    fields.any(key);
}

void refine_exaone(const Fields& fields, ModelConfig& config) {
  fields.any("embed_dropout");
  config.traits.biases = {};
}

void refine_minicpm(const Fields& fields, ModelConfig& config) {
  refine_llama(fields, config);
  config.embedding_scale = fields.positive("scale_emb", 1);
  config.branch_scale = fields.positive("scale_depth", 1) / std::sqrt(static_cast<double>(config.layers));
  config.logit_scale = fields.positive("dim_model_base", 1) / static_cast<double>(config.hidden);
}

// Every fourth layer sees everything, beginning with the first.
void refine_cwm(const Fields& fields, ModelConfig& config) {
  refine_llama(fields, config);
  set_windows(fields, config, window_size(fields, 8192), [](int64_t layer) { return layer % 4 != 0; });
}

void refine_jais2(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", true));
  config.traits.biases.mlp = fields.flag("mlp_bias", true);
}

void refine_iquestcoder(const Fields& fields, ModelConfig& config) {
  refine_llama(fields, config);
  fields.expect_flag("use_sliding_window", false);
  for (const std::string_view key : {"sliding_window", "max_window_layers"}) fields.any(key);
}

void refine_hyperclovax(const Fields& fields, ModelConfig& config) {
  const double usual = config.attention_scale;
  refine_granite(fields, config);
  config.attention_scale = fields.number("attention_multiplier", usual);
  config.logit_scale = fields.positive("logits_scaling", 1);  // Granite divides by it
  if (!fields.flag("use_post_norm", true)) config.traits.residual = Residual::sequential;
}

// The bases of rotation are listed by layer; 0 for those that know no positions.
void refine_granite_swa(const Fields& fields, ModelConfig& config) {
  refine_granite(fields, config);
  set_windows(fields, config, window_size(fields, 128), [](int64_t layer) { return layer % 4 != 0; });
  const std::vector<double> bases = fields.numbers("layer_rope_theta");
  if (bases.empty()) return;
  if (static_cast<int64_t>(bases.size()) != config.layers) fields.refuse("layer_rope_theta");
  for (const double base : bases) {
    if (base != 0 && base != config.rope.base) fields.refuse("layer_rope_theta");
    config.unrotated.push_back(base == 0);
  }
}

void refine_nanochat(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", false));
  config.rope.reversed = true;
  config.logit_softcap = softcap(fields, "final_logit_softcapping", config.logit_softcap);
}

void refine_bitnet(const Fields& fields, ModelConfig& config) {
  set_attention_bias(config, fields.flag("attention_bias", false));
}

void refine_internlm3(const Fields& fields, ModelConfig& config) {
  const bool bias = fields.flag("bias|mlp_bias", false);
  config.traits.biases = {fields.flag("qkv_bias|attention_bias", false), bias, bias, false};
}

void refine_modernbert_decoder(const Fields& fields, ModelConfig& config) {
  Traits& traits = config.traits;
  traits.norm_bias = fields.flag("norm_bias", false);
  set_attention_bias(config, fields.flag("attention_bias", false));
  traits.biases.mlp = fields.flag("mlp_bias", false);
  traits.biases.head = fields.flag("decoder_bias", true);
  fields.expect_flag("classifier_bias", false);
  if (fields.has("classifier_activation")) config.head_activation = read_activation(fields, "classifier_activation");
  if (!config.local_rope_base) config.local_rope_base = fields.number("local_rope_theta", 10000);
  // Half of what the encoder sees, which looks both ways.
  const int64_t window = fields.size("sliding_window", std::max<int64_t>(fields.size("local_attention", 128) / 2, 1));
  const int64_t interval = fields.size("global_attn_every_n_layers", 3);
  set_windows(fields, config, window, [&](int64_t layer) { return layer % interval != 0; });
  for (const std::string_view key : {"layer_norm_eps", "classifier_pooling"}) fields.any(key);
}

}  // namespace lathe::checkpoint
