#include "checkpoint/model_config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/encoder_families.h"
#include "checkpoint/families.h"
#include "checkpoint/seq2seq_families.h"
#include "checkpoint/spellings.h"

namespace lathe::checkpoint {
namespace {

using nlohmann::json;

// "Llama" of LlamaForCausalLM, LlamaModel and the like.
std::string architecture(const Fields& fields) {
  const std::vector<std::string> names = fields.texts("architectures");
  if (names.empty()) fail(ErrorCode::invalid_model, "config.json has no 'model_type' and no 'architectures'");
  const std::string& name = names.front();
  for (const std::string_view ending : {"For", "LMHeadModel", "Model"})
    if (const size_t end = name.rfind(ending); end != std::string::npos) return name.substr(0, end);
  return name;
}

const Family& find_family(const Fields& fields) {
  const auto type = fields.optional_text("model_type");
  const std::string name = type ? *type : architecture(fields);
  for (const Family& family : families())
    if (is_spelling(type ? family.model_type : family.architecture, name) &&
        (family.if_field.empty() || fields.has(family.if_field)))
      return family;
  std::string known;
  for (const Family& family : families()) {
    const std::string word(first_spelling(family.model_type));
    if (known.find(" " + word + ",") == std::string::npos) known += " " + word + ",";
  }
  known.pop_back();
  throw Error(ErrorCode::unsupported,
              fmt::format("the {} '{}' is not known", type ? "model_type" : "architecture", name))
      .remedy(fmt::format("Lathe knows these decoders:{}; these encoders: {}; and these encoder-decoders: {}", known,
                          known_encoders(), known_seq2seq()));
}

// What describes the language model: the whole, or the part of a model that sees or hears, too.
json text_model(json document) {
  if (!document.contains("text_config") || !document["text_config"].is_object()) return document;
  json text = document["text_config"];
  for (const char* key : {"tie_word_embeddings", "quantization_config"})
    if (document.contains(key) && !text.contains(key)) text[key] = document[key];
  const json unsaid = json::parse(find_family(Fields(text, "text_config of config.json")).unsaid);
  for (const auto& [key, value] : unsaid.items())
    if (!text.contains(key)) text[key] = value;
  return text;
}

// How much YaRN and LongRoPE enlarge cosines and sines.
double magnitude(const Fields& scaling, const Rope& rope) {
  const auto given = scaling.optional_number("attention_factor|short_mscale");
  if (scaling.number("long_mscale", given.value_or(0)) != given.value_or(0)) scaling.refuse("long_mscale");
  const double some = scaling.number("mscale", 0), all = scaling.number("mscale_all_dim", 0);
  if (given) return *given;
  if (rope.factor <= 1) return 1;
  if (rope.scaling == RopeScaling::longrope)
    return std::sqrt(1 + std::log(rope.factor) / std::log(static_cast<double>(rope.original_positions)));
  const auto of = [&](double strength) { return 0.1 * strength * std::log(rope.factor) + 1; };
  return some != 0 && all != 0 ? of(some) / of(all) : of(1);
}

// HunYuan's base is stretched by a constant, whatever the length of the context.
void stretch_once(const Fields& scaling, ModelConfig& config) {
  config.rope.scaling = RopeScaling::none;
  const auto dim = static_cast<double>(config.head_dim);
  config.rope.base *= std::pow(scaling.positive("alpha", 1), dim / (dim - 2));
  scaling.expect_all_read({"factor", "mscale", "mscale_all_dim", "beta_fast", "beta_slow"});
}

void read_scaling(const Fields& scaling, const Fields& fields, ModelConfig& config) {
  Rope& rope = config.rope;
  const std::string type = scaling.optional_text("rope_type|type").value_or("default");
  constexpr std::pair<std::string_view, RopeScaling> kTypes[] = {
      {"default", RopeScaling::none},  {"linear", RopeScaling::linear}, {"dynamic", RopeScaling::dynamic},
      {"llama3", RopeScaling::llama3}, {"yarn", RopeScaling::yarn},     {"longrope", RopeScaling::longrope},
      {"su", RopeScaling::longrope},   {"mrope", RopeScaling::none}};  // of time, height and width, which are one and
                                                                       // the same for texts
  bool known = false;
  for (const auto& [name, value] : kTypes) {
    if (type != name) continue;
    rope.scaling = value;
    known = true;
  }
  if (!known) scaling.refuse("rope_type|type");
  if (rope.scaling == RopeScaling::dynamic && scaling.has("alpha")) {
    stretch_once(scaling, config);
    return;
  }
  for (const std::string_view key : {"mrope_section", "mrope_interleaved"}) scaling.any(key);
  rope.base = scaling.number("rope_theta", rope.base);
  const auto original = scaling.optional_integer("original_max_position_embeddings");
  rope.original_positions =
      original ? *original : fields.size("original_max_position_embeddings", config.max_positions);
  if (rope.scaling == RopeScaling::dynamic) rope.original_positions = config.max_positions;  // whatever the file says
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
  if (config.traits.tempered)
    config.temperature = {scaling.number("llama_4_scaling_beta", 0), static_cast<double>(rope.original_positions), 0,
                          true};
  scaling.expect_all_read({"finetuned", "max_position_embeddings"});
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

ModelConfig starting_from(const Family& family) {
  ModelConfig config;
  config.family = first_spelling(family.model_type);
  config.names = family.names;
  config.traits = family.traits;
  const Defaults& defaults = family.defaults;
  config.kv_heads = defaults.kv_heads;
  config.head_dim = defaults.head_dim;
  config.rope.base = defaults.rope_base;
  config.attention_softcap = defaults.attention_softcap;
  config.logit_softcap = defaults.logit_softcap;
  config.moe.experts = defaults.experts;
  config.moe.top_k = defaults.top_k;
  config.moe.intermediate = defaults.expert_intermediate;
  config.moe.shared_intermediate = defaults.shared_intermediate;
  return config;
}

}  // namespace

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
  if (rope.dim < 2 || rope.dim % 2 != 0 || rope.dim > config.head_dim || rope.base <= 1 || !std::isfinite(rope.base) ||
      (rope.scaling == RopeScaling::dynamic && rope.dim == 2))
    fail(ErrorCode::invalid_model, "config.json: {} of {} features of a head cannot turn with the base {}", rope.dim,
         config.head_dim, rope.base);
  if (rope.scaling != RopeScaling::longrope) return;
  for (const std::vector<double>& factors : {rope.short_factors, rope.long_factors})
    if (factors.size() != pairs || *std::min_element(factors.begin(), factors.end()) <= 0)
      fail(ErrorCode::invalid_model, "config.json: short_factor and long_factor need {} positive entries each", pairs);
}

ModelConfig read_model_config(const Checkpoint& checkpoint) {
  try {
    const json document =
        text_model(Fields::parse(checkpoint.config(), (checkpoint.folder() / "config.json").string()));
    const Fields fields(document, "config.json");
    const Family& family = find_family(fields);
    ModelConfig config = starting_from(family);
    read_sizes(fields, family.fields, config);
    read_rope(fields, family.fields, config);
    if (family.refine != nullptr) family.refine(fields, config);
    expect_usual(fields);
    fields.any("quantization_config|compression_config");  // which Weights accounts for
    fields.expect_all_read(neutral_fields());
    if (config.traits.positions == Positions::rotary || config.traits.positions == Positions::rotary_2d)
      finish_rope(config);
    if (config.value_dim == 0) config.value_dim = config.head_dim;
    check(config);
    return config;
  } catch (Error& error) {
    if (error.file().empty()) error.in_file((checkpoint.folder() / "config.json").string());
    throw;
  }
}

}  // namespace lathe::checkpoint
