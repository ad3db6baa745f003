#include "checkpoint/model_config.h"

#include <cmath>
#include <set>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/families.h"

namespace lathe::checkpoint {
namespace {

using nlohmann::json;

// Fields that say how a model was trained, saved or is to be sampled from, or pick among implementations of the same
// arithmetic.
const std::set<std::string, std::less<>>& neutral_fields() {
  static const std::set<std::string, std::less<>> kNeutral{
      // of the file
      "architectures", "auto_map", "dtype", "id2label", "label2id", "model_type", "num_labels", "problem_type",
      "tokenizer_class", "torch_dtype", "transformers_version", "unsloth_fixed", "unsloth_version",
      // training
      "activation_dropout", "attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "classifier_dropout",
      "dropout", "embd_pdrop", "embed_dropout", "ffn_dropout", "gradient_checkpointing", "hidden_dropout",
      "hidden_dropout_prob", "init_std", "initializer_factor", "initializer_range", "layerdrop", "output_router_logits",
      "pretraining_tp", "resid_dropout", "resid_pdrop", "residual_dropout", "router_aux_loss_coef",
      "router_jitter_noise", "bias_dropout_fusion", "embedding_dropout",
      // tokens and sampling
      "begin_suppress_tokens", "bos_token_id", "do_sample", "eos_token_id", "forced_bos_token_id",
      "forced_eos_token_id", "max_length", "max_new_tokens", "min_length", "num_beams", "pad_token_id", "prefix",
      "repetition_penalty", "sep_token_id", "suppress_tokens", "temperature", "top_k", "top_p", "unk_token_id",
      "task_specific_params", "cls_token_id", "mask_token_id",
      // implementation
      "apply_query_key_layer_scaling", "attention_softmax_in_fp32", "attn_implementation", "cache_implementation",
      "chunk_size_feed_forward", "flash_attention", "fp32_residual_connection", "inference_runner",
      "masked_softmax_fusion", "max_batch_size", "n_ctx", "offset_alibi", "output_attentions", "output_hidden_states",
      "pre_allocate_kv_cache", "reorder_and_upcast_attn", "return_dict", "scale_attention_softmax_in_fp32",
      "skip_bias_add", "skip_bias_add_qkv", "slow_but_exact", "torchscript", "use_bfloat16", "use_cache",
      "use_flash_attn", "validate_runner_input",
      // heads that a language model does not have
      "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj"};
  return kNeutral;
}

bool is_spelling(std::string_view spellings, std::string_view name) {
  for (;;) {
    const size_t end = spellings.find('|');
    if (spellings.substr(0, end) == name) return true;
    if (end == std::string_view::npos) return false;
    spellings.remove_prefix(end + 1);
  }
}

const Family& find_family(const Fields& fields) {
  const auto type = fields.optional_text("model_type");
  if (!type) fail(ErrorCode::invalid_model, "config.json has no 'model_type'");
  for (const Family& family : families())
    if (is_spelling(family.model_type, *type) && (family.if_field.empty() || fields.has(family.if_field)))
      return family;
  std::string known;
  for (const Family& family : families()) {
    const std::string name(family.model_type.substr(0, family.model_type.find('|')));
    if (known.find(name) != 0 && known.find(" " + name + ",") == std::string::npos) known += " " + name + ",";
  }
  known.pop_back();
  throw Error(ErrorCode::unsupported, fmt::format("the model_type '{}' is not known", *type))
      .remedy("Lathe knows these decoders:" + known);
}

void read_sizes(const Fields& fields, const FieldNames& names, ModelConfig& config) {
  config.vocab = fields.size(names.vocab);
  config.hidden = fields.size(names.hidden);
  config.layers = fields.size(names.layers);
  config.heads = fields.size(names.heads);
  config.kv_heads = fields.size(names.kv_heads, config.heads);
  if (!fields.has(names.head_dim) && config.hidden % config.heads != 0)
    fail(ErrorCode::invalid_model, "config.json: {} features cannot be divided among {} heads", config.hidden,
         config.heads);
  config.head_dim = fields.size(names.head_dim, config.hidden / config.heads);
  config.intermediate = fields.size(names.intermediate, 4 * config.hidden);
  config.embedding_width = config.hidden;
  config.max_positions = fields.size(names.positions, 2048);
  config.epsilon = fields.number(names.epsilon, config.traits.epsilon);
  config.attention_scale = 1 / std::sqrt(static_cast<double>(config.head_dim));
  config.windows.assign(static_cast<size_t>(config.layers), 0);
  if (fields.has(names.activation)) config.traits.activation = read_activation(fields, names.activation);
  config.traits.tied = fields.flag("tie_word_embeddings", config.traits.tied);
}

// How much YaRN and LongRoPE enlarge cosines and sines.
double magnitude(const Fields& scaling, const Rope& rope) {
  if (const auto given = scaling.optional_number("attention_factor")) return *given;
  if (rope.factor <= 1) return 1;
  if (rope.scaling == RopeScaling::longrope)
    return std::sqrt(1 + std::log(rope.factor) / std::log(static_cast<double>(rope.original_positions)));
  const auto of = [&](double strength) { return 0.1 * strength * std::log(rope.factor) + 1; };
  const double some = scaling.number("mscale", 0), all = scaling.number("mscale_all_dim", 0);
  return some != 0 && all != 0 ? of(some) / of(all) : of(1);
}

void read_scaling(const Fields& scaling, const Fields& fields, ModelConfig& config) {
  Rope& rope = config.rope;
  const std::string type = scaling.optional_text("rope_type|type").value_or("default");
  constexpr std::pair<std::string_view, RopeScaling> kTypes[] = {
      {"default", RopeScaling::none},  {"linear", RopeScaling::linear}, {"dynamic", RopeScaling::dynamic},
      {"llama3", RopeScaling::llama3}, {"yarn", RopeScaling::yarn},     {"longrope", RopeScaling::longrope},
      {"su", RopeScaling::longrope}};
  bool known = false;
  for (const auto& [name, value] : kTypes) {
    if (type != name) continue;
    rope.scaling = value;
    known = true;
  }
  if (!known) scaling.refuse("rope_type|type");
  rope.base = scaling.number("rope_theta", rope.base);
  const auto original = scaling.optional_integer("original_max_position_embeddings");
  rope.original_positions =
      original ? *original : fields.size("original_max_position_embeddings", config.max_positions);
  if (rope.original_positions < 1) scaling.refuse("original_max_position_embeddings");
  const bool stretched = rope.scaling != RopeScaling::none && rope.scaling != RopeScaling::longrope;
  const double ratio = static_cast<double>(config.max_positions) / static_cast<double>(rope.original_positions);
  rope.factor = stretched ? scaling.number("factor") : scaling.number("factor", ratio);
  if (fields.has("original_max_position_embeddings") && rope.scaling == RopeScaling::longrope) rope.factor = ratio;
  if (rope.factor <= 0) scaling.refuse("factor");
  if (rope.scaling == RopeScaling::llama3) {
    rope.low_frequency_factor = scaling.number("low_freq_factor");
    rope.high_frequency_factor = scaling.number("high_freq_factor");
  }
  rope.beta_fast = scaling.number("beta_fast", rope.beta_fast);
  rope.beta_slow = scaling.number("beta_slow", rope.beta_slow);
  rope.truncate = scaling.flag("truncate", true);
  rope.short_factors = scaling.numbers("short_factor");
  rope.long_factors = scaling.numbers("long_factor");
  if (rope.scaling == RopeScaling::yarn || rope.scaling == RopeScaling::longrope)
    rope.magnitude = magnitude(scaling, rope);
  config.traits.rotary_fraction = scaling.number("partial_rotary_factor", config.traits.rotary_fraction);
  scaling.expect_all_read({"finetuned"});
}

// Since version 5 of Transformers everything about rotation stands in one object, or one per type of layer.
void read_rope(const Fields& fields, const FieldNames& names, ModelConfig& config) {
  config.rope.base = fields.number(names.rope_base, config.rope.base);
  config.traits.rotary_fraction = fields.number(names.rotary_fraction, config.traits.rotary_fraction);
  const json* object = fields.any("rope_parameters|rope_scaling");
  fields.any("original_max_position_embeddings");
  if (object == nullptr) return;
  if (!object->is_object()) fields.refuse("rope_parameters|rope_scaling");
  if (object->contains("full_attention") && object->contains("sliding_attention")) {
    const json &global = (*object)["full_attention"], &local = (*object)["sliding_attention"];
    if (object->size() != 2 || !global.is_object() || !local.is_object()) fields.refuse("rope_parameters");
    const Fields local_fields(local, "rope_parameters.sliding_attention");
    if (local_fields.optional_text("rope_type").value_or("default") != "default") local_fields.refuse("rope_type");
    config.local_rope_base = local_fields.number("rope_theta");
    local_fields.expect_all_read({});
    read_scaling(Fields(global, "rope_parameters.full_attention"), fields, config);
  } else {
    read_scaling(Fields(*object, "rope_scaling"), fields, config);
  }
}

void finish_rope(ModelConfig& config) {
  const bool halves = config.traits.positions == Positions::rotary_2d;
  Rope& rope = config.rope;
  if (rope.dim == 0)
    rope.dim = halves ? config.head_dim / 2
                      : static_cast<int64_t>(static_cast<double>(config.head_dim) * config.traits.rotary_fraction);
  const auto pairs = static_cast<size_t>(rope.dim / 2);
  if (rope.dim < 2 || rope.dim % 2 != 0 || rope.dim > config.head_dim || rope.base <= 1 ||
      (rope.scaling == RopeScaling::dynamic && rope.dim == 2))
    fail(ErrorCode::invalid_model, "config.json: {} of {} features of a head cannot turn with the base {}", rope.dim,
         config.head_dim, rope.base);
  if (rope.scaling == RopeScaling::longrope &&
      (rope.short_factors.size() != pairs || rope.long_factors.size() != pairs))
    fail(ErrorCode::invalid_model, "config.json: short_factor and long_factor need {} entries each", pairs);
}

void check(const ModelConfig& config) {
  if (config.heads % config.kv_heads != 0)
    fail(ErrorCode::invalid_model, "config.json: {} heads cannot share {} key/value heads", config.heads,
         config.kv_heads);
  if (config.traits.packing == QkvPacking::per_head && config.kv_heads != config.heads)
    fail(ErrorCode::invalid_model, "config.json: {} key/value heads where each of {} heads has its own",
         config.kv_heads, config.heads);
  if (config.moe.top_k > config.moe.experts)
    fail(ErrorCode::invalid_model, "config.json: {} of {} experts cannot be chosen", config.moe.top_k,
         config.moe.experts);
}

}  // namespace

ModelConfig read_model_config(const Checkpoint& checkpoint) {
  try {
    const json document = Fields::parse(checkpoint.config(), "config.json");
    const Fields fields(document, "config.json");
    const Family& family = find_family(fields);
    ModelConfig config;
    config.family = family.model_type.substr(0, family.model_type.find('|'));
    config.names = family.names;
    config.traits = family.traits;
    read_sizes(fields, family.fields, config);
    read_rope(fields, family.fields, config);
    if (family.refine != nullptr) family.refine(fields, config);
    fields.expect_flag("is_encoder_decoder", false);
    fields.expect_flag("add_cross_attention", false);
    if (fields.has("quantization_config"))
      throw Error(ErrorCode::unsupported, "the weights are quantised ('quantization_config')")
          .remedy("Use the checkpoint in 16 or 32 bits that it was made from");
    fields.expect_all_read(neutral_fields());
    if (config.traits.positions == Positions::rotary || config.traits.positions == Positions::rotary_2d)
      finish_rope(config);
    check(config);
    return config;
  } catch (Error& error) {
    if (error.file().empty()) error.in_file((checkpoint.folder() / "config.json").string());
    throw;
  }
}

}  // namespace lathe::checkpoint
