#include "checkpoint/seq2seq_families.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "checkpoint/spellings.h"

namespace lathe::checkpoint {
namespace {

// Positions that tell distances end nowhere; caches and tables do.
constexpr int64_t kRelativeReach = 2048;

// ---- fields ----

constexpr FieldNames kT5Fields{.hidden = "d_model",
                               .layers = "num_layers|num_hidden_layers",
                               .heads = "num_heads|num_attention_heads",
                               .kv_heads = {},
                               .head_dim = "d_kv",
                               .intermediate = "d_ff",
                               .positions = {},
                               .epsilon = "layer_norm_epsilon",
                               .activation = {},
                               .rotary_fraction = {},
                               .rope_base = {}};
constexpr FieldNames t5_decoder_fields() {
  FieldNames fields = kT5Fields;
  fields.layers = "num_decoder_layers|num_layers|num_hidden_layers";
  return fields;
}
constexpr FieldNames kBartEncoderFields{.hidden = "d_model",
                                        .layers = "encoder_layers",
                                        .heads = "encoder_attention_heads",
                                        .kv_heads = {},
                                        .head_dim = {},
                                        .intermediate = "encoder_ffn_dim",
                                        .epsilon = {},
                                        .activation = "activation_function",
                                        .rotary_fraction = {},
                                        .rope_base = {}};
constexpr FieldNames kBartDecoderFields{.hidden = "d_model",
                                        .layers = "decoder_layers",
                                        .heads = "decoder_attention_heads",
                                        .kv_heads = {},
                                        .head_dim = {},
                                        .intermediate = "decoder_ffn_dim",
                                        .epsilon = {},
                                        .activation = "activation_function",
                                        .vocab = "decoder_vocab_size|vocab_size",
                                        .rotary_fraction = {},
                                        .rope_base = {}};
constexpr FieldNames with_positions(FieldNames fields, std::string_view positions) {
  fields.positions = positions;
  return fields;
}

// ---- names ----

constexpr Names t5_names(bool decoder) {
  return {.embedding = decoder ? "decoder.embed_tokens|shared|encoder.embed_tokens"
                               : "encoder.embed_tokens|shared|decoder.embed_tokens",
          .layers = decoder ? "decoder.block." : "encoder.block.",
          .norm1 = "layer.0.layer_norm",
          .norm2 = decoder ? "layer.2.layer_norm" : "layer.1.layer_norm",
          .q = "layer.0.SelfAttention.q",
          .k = "layer.0.SelfAttention.k",
          .v = "layer.0.SelfAttention.v",
          .attention_out = "layer.0.SelfAttention.o",
          .gate = decoder ? "layer.2.DenseReluDense.wi_0" : "layer.1.DenseReluDense.wi_0",
          .up = decoder ? "layer.2.DenseReluDense.wi" : "layer.1.DenseReluDense.wi",
          .down = decoder ? "layer.2.DenseReluDense.wo" : "layer.1.DenseReluDense.wo",
          .final_norm = decoder ? "decoder.final_layer_norm" : "encoder.final_layer_norm",
          // The first releases held this by mistake.
          .buffers = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"};
}
constexpr CrossNames kT5Cross{.norm = "layer.1.layer_norm",
                              .q = "layer.1.EncDecAttention.q",
                              .k = "layer.1.EncDecAttention.k",
                              .v = "layer.1.EncDecAttention.v",
                              .out = "layer.1.EncDecAttention.o"};
constexpr std::string_view kT5Bias = "layer.0.SelfAttention.relative_attention_bias";

constexpr Names bart_names(bool decoder) {
  return {.root = "model.",
          .embedding = decoder ? "decoder.embed_tokens|shared|encoder.embed_tokens"
                               : "encoder.embed_tokens|shared|decoder.embed_tokens",
          .embedding_norm = decoder ? "decoder.layernorm_embedding" : "encoder.layernorm_embedding",
          .positions = decoder ? "decoder.embed_positions" : "encoder.embed_positions",
          .layers = decoder ? "decoder.layers." : "encoder.layers.",
          .norm1 = "self_attn_layer_norm",
          .norm2 = "final_layer_norm",
          .q = "self_attn.q_proj",
          .k = "self_attn.k_proj",
          .v = "self_attn.v_proj",
          .attention_out = "self_attn.out_proj",
          .up = "fc1",
          .down = "fc2",
          .final_norm = decoder ? "decoder.layer_norm" : "encoder.layer_norm",
          .buffers = "embed_positions.weight"};  // of sinusoids, which some files hold
}
constexpr Names whisper_names(bool decoder) {
  Names names = bart_names(decoder);
  names.embedding = "decoder.embed_tokens";
  names.head = "proj_out";
  names.buffers = {};
  return names;
}
constexpr CrossNames kBartCross{.norm = "encoder_attn_layer_norm",
                                .q = "encoder_attn.q_proj",
                                .k = "encoder_attn.k_proj",
                                .v = "encoder_attn.v_proj",
                                .out = "encoder_attn.out_proj"};

// ---- traits ----

constexpr Traits t5_traits(bool tied) {
  return {.norm = NormKind::rms,
          .residual = Residual::sequential,
          .mlp = MlpKind::plain,
          .activation = Activation::relu,
          .biases = {},
          .tied = tied};
}
// BART: norms follow what they normalise, none ends a side.
constexpr Traits kBart{.norm = NormKind::layer,
                       .norm_bias = true,
                       .epsilon = 1e-5,
                       .embedding_norm = true,
                       .final_norm = false,
                       .residual = Residual::post_norm,
                       .position_offset = 2,
                       .mlp = MlpKind::plain,
                       .activation = Activation::gelu_erf,
                       .biases = {.qkv = true, .attention_out = true, .mlp = true},
                       .tied = true};
constexpr Traits marian_traits() {
  Traits traits = kBart;
  traits.embedding_norm = false;
  traits.position_offset = 0;
  return traits;
}
constexpr Traits blenderbot_small_traits() {
  Traits traits = kBart;
  traits.position_offset = 0;
  return traits;
}

constexpr Traits mbart_traits(bool embedding_norm, int64_t position_offset) {
  Traits traits = kBart;
  traits.residual = Residual::sequential;
  traits.final_norm = true;
  traits.embedding_norm = embedding_norm;
  traits.position_offset = position_offset;
  return traits;
}

// ---- what further fields change ----

void refine_t5(const Fields& fields, Seq2SeqConfig& config) {
  constexpr std::string_view kForm = "feed_forward_proj";
  constexpr std::array<std::pair<std::string_view, Activation>, 5> kForms{{{"relu", Activation::relu},
                                                                           {"gelu", Activation::gelu_erf},
                                                                           {"gated-gelu", Activation::gelu_tanh},
                                                                           {"gated-silu", Activation::silu},
                                                                           {"gated-relu", Activation::relu}}};
  const bool first = is_spelling(config.family->model_type, "t5");
  const std::string form = fields.optional_text(kForm).value_or(first ? "relu" : "gated-gelu");
  const auto found = std::find_if(kForms.begin(), kForms.end(), [&](const auto& known) { return known.first == form; });
  if (found == kForms.end()) fields.refuse(kForm);
  const bool gated = form.starts_with("gated-");
  for (ModelConfig* side : {&config.encoder, &config.decoder}) {
    side->attention_scale = 1;
    side->max_positions = kRelativeReach;
    side->traits.activation = found->second;
    if (gated) side->traits.mlp = MlpKind::gated;
  }
  if (gated) {
    config.encoder.names.up = "layer.1.DenseReluDense.wi_1";
    config.decoder.names.up = "layer.2.DenseReluDense.wi_1";
  }
  config.buckets.buckets = fields.size("relative_attention_num_buckets", 32);
  config.buckets.max_distance = fields.size("relative_attention_max_distance", 128);
  constexpr int64_t kMostDistance = 1 << 16;
  if (config.buckets.buckets < 4 || config.buckets.buckets % 2 != 0) fields.refuse("relative_attention_num_buckets");
  if (config.buckets.max_distance <= config.buckets.buckets / 2 || config.buckets.max_distance > kMostDistance)
    fields.refuse("relative_attention_max_distance");
  // mT5 alone leaves states as they are where the output matrix is the embedding.
  const bool scales = config.decoder.traits.tied && !is_spelling(config.family->model_type, "mt5");
  if (fields.flag("scale_decoder_outputs", scales))
    config.decoder.logit_scale = 1 / std::sqrt(static_cast<double>(config.decoder.hidden));
}

void scale_embeddings(const Fields& fields, Seq2SeqConfig& config, bool otherwise) {
  if (!fields.flag("scale_embedding", otherwise)) return;
  for (ModelConfig* side : {&config.encoder, &config.decoder})
    side->embedding_scale = std::sqrt(static_cast<double>(side->hidden));
}

void refine_bart(const Fields& fields, Seq2SeqConfig& config) {
  const Traits& traits = config.family->traits;
  const bool m2m = is_spelling(config.family->model_type, "m2m_100");
  scale_embeddings(fields, config, m2m);
  // Its positions count from the padding token's number on.
  if (m2m)
    for (ModelConfig* side : {&config.encoder, &config.decoder})
      side->traits.position_offset = fields.optional_integer("pad_token_id").value_or(1) + 1;
  // Old files spell out what sets the families apart.
  fields.expect_flag("normalize_before", traits.residual == Residual::sequential);
  fields.expect_flag("add_final_layer_norm", traits.final_norm);
  fields.expect_flag("normalize_embedding", traits.embedding_norm);
  fields.expect_flag("static_position_embeddings", config.family->positions == SidePositions::sinusoidal);
}

// Without the prompts that are trained in front of each layer's keys.
void refine_mvp(const Fields& fields, Seq2SeqConfig& config) {
  fields.expect_flag("use_prompt", false);
  refine_bart(fields, config);
}

void refine_blenderbot_small(const Fields& fields, Seq2SeqConfig& config) {
  refine_bart(fields, config);
  config.decoder.traits.norm_before_positions = true;
}

void refine_whisper(const Fields& fields, Seq2SeqConfig& config) {
  scale_embeddings(fields, config, false);
  config.encoder.embedding_scale = 1;
  config.mel_bins = fields.size("num_mel_bins", 80);
}

// clang-format off
constexpr Seq2SeqFamily kFamilies[] = {
    {.model_type = "t5", .encoder = t5_names(false), .decoder = t5_names(true), .cross = kT5Cross,
     .encoder_fields = kT5Fields, .decoder_fields = t5_decoder_fields(), .traits = t5_traits(true),
     .positions = SidePositions::relative, .relative_bias = kT5Bias, .refine = refine_t5},
    {.model_type = "mt5", .encoder = t5_names(false), .decoder = t5_names(true), .cross = kT5Cross,
     .encoder_fields = kT5Fields, .decoder_fields = t5_decoder_fields(), .traits = t5_traits(false),
     .positions = SidePositions::relative, .relative_bias = kT5Bias, .refine = refine_t5},
    {.model_type = "umt5", .encoder = t5_names(false), .decoder = t5_names(true), .cross = kT5Cross,
     .encoder_fields = kT5Fields, .decoder_fields = t5_decoder_fields(), .traits = t5_traits(false),
     .positions = SidePositions::relative, .relative_bias = kT5Bias, .bias_in_every_layer = true, .refine = refine_t5},
    {.model_type = "bart", .encoder = bart_names(false), .decoder = bart_names(true), .cross = kBartCross,
     .encoder_fields = kBartEncoderFields, .decoder_fields = kBartDecoderFields, .traits = kBart,
     .logit_bias = "final_logits_bias", .refine = refine_bart},
    {.model_type = "plbart", .encoder = bart_names(false), .decoder = bart_names(true), .cross = kBartCross,
     .encoder_fields = kBartEncoderFields, .decoder_fields = kBartDecoderFields, .traits = kBart,
     .logit_bias = "final_logits_bias", .refine = refine_bart},
    {.model_type = "mvp", .encoder = bart_names(false), .decoder = bart_names(true), .cross = kBartCross,
     .encoder_fields = kBartEncoderFields, .decoder_fields = kBartDecoderFields, .traits = kBart,
     .logit_bias = "final_logits_bias", .refine = refine_mvp},
    {.model_type = "blenderbot", .encoder = bart_names(false), .decoder = bart_names(true), .cross = kBartCross,
     .encoder_fields = kBartEncoderFields, .decoder_fields = kBartDecoderFields, .traits = mbart_traits(false, 0),
     .logit_bias = "final_logits_bias", .refine = refine_bart},
    {.model_type = "blenderbot-small", .encoder = bart_names(false), .decoder = bart_names(true), .cross = kBartCross,
     .encoder_fields = kBartEncoderFields, .decoder_fields = kBartDecoderFields, .traits = blenderbot_small_traits(),
     .logit_bias = "final_logits_bias", .refine = refine_blenderbot_small},
    {.model_type = "mbart", .encoder = bart_names(false), .decoder = bart_names(true), .cross = kBartCross,
     .encoder_fields = kBartEncoderFields, .decoder_fields = kBartDecoderFields, .traits = mbart_traits(true, 2),
     .logit_bias = "final_logits_bias", .refine = refine_bart},
    {.model_type = "marian", .encoder = bart_names(false), .decoder = bart_names(true), .cross = kBartCross,
     .encoder_fields = kBartEncoderFields, .decoder_fields = kBartDecoderFields, .traits = marian_traits(),
     .positions = SidePositions::sinusoidal, .logit_bias = "final_logits_bias", .refine = refine_bart},
    {.model_type = "pegasus", .encoder = bart_names(false), .decoder = bart_names(true), .cross = kBartCross,
     .encoder_fields = kBartEncoderFields, .decoder_fields = kBartDecoderFields, .traits = mbart_traits(false, 0),
     .positions = SidePositions::sinusoidal, .logit_bias = "final_logits_bias", .refine = refine_bart},
    {.model_type = "m2m_100", .encoder = bart_names(false), .decoder = bart_names(true), .cross = kBartCross,
     .encoder_fields = kBartEncoderFields, .decoder_fields = kBartDecoderFields, .traits = mbart_traits(false, 0),
     .positions = SidePositions::sinusoidal, .ends_at_10000 = true, .refine = refine_bart},
    {.model_type = "whisper", .encoder = whisper_names(false), .decoder = whisper_names(true), .cross = kBartCross,
     .encoder_fields = with_positions(kBartEncoderFields, "max_source_positions"),
     .decoder_fields = with_positions(kBartDecoderFields, "max_target_positions"), .traits = mbart_traits(false, 0),
     .audio = true, .key_bias = false, .refine = refine_whisper},
};
// clang-format on

ModelConfig starting_from(const Seq2SeqFamily& family, const Names& names) {
  ModelConfig config;
  config.family = first_spelling(family.model_type);
  config.names = names;
  config.traits = family.traits;
  return config;
}

// Besides the fields that change nothing in any family.
std::set<std::string, std::less<>> neutral() {
  std::set<std::string, std::less<>> fields = neutral_fields();
  fields.insert({// training
                 "apply_spec_augment", "classif_dropout", "decoder_layerdrop", "dropout_rate", "encoder_layerdrop",
                 "mask_feature_length", "mask_feature_min_masks", "mask_feature_prob", "mask_time_length",
                 "mask_time_min_masks", "mask_time_prob",
                 // tokens and sampling
                 "alignment_heads", "force_bos_token_to_be_generated", "lang_to_id", "max_initial_timestamp_index",
                 "median_filter_width", "no_timestamps_token_id", "return_timestamps",
                 // said again by others
                 "add_bias_logits", "dense_act_fn", "extra_pos_embeddings", "is_gated_act", "n_positions",
                 "num_hidden_layers", "share_encoder_decoder_embeddings", "do_blenderbot_90_layernorm",
                 "extra_layer_norm", "layernorm_variant", "prompt_length", "prompt_mid_dim",
                 // heads that a language model does not have
                 "classifier_proj_size", "use_weighted_layer_sum"});
  return fields;
}

void check(const Fields& fields, const Seq2SeqConfig& config) {
  fields.expect_flag("is_encoder_decoder", true);
  if (fields.has("quantization_config")) fields.refuse("quantization_config");
  const std::vector<std::string> architectures = fields.texts("architectures");
  if (!architectures.empty() &&
      (architectures.front().ends_with("Classification") || architectures.front().ends_with("QuestionAnswering")))
    fields.refuse("architectures");
  if (config.encoder.hidden % 2 != 0 && config.family->positions == SidePositions::sinusoidal) fields.refuse("d_model");
}

}  // namespace

std::string known_seq2seq() {
  std::string known;
  for (const Seq2SeqFamily& family : kFamilies)
    known += (known.empty() ? "" : ", ") + std::string(first_spelling(family.model_type));
  return known;
}

const Seq2SeqFamily* find_seq2seq_family(const Checkpoint& checkpoint) {
  const nlohmann::json document = Fields::parse(checkpoint.config(), (checkpoint.folder() / "config.json").string());
  const std::string type = Fields(document, "config.json").optional_text("model_type").value_or("");
  for (const Seq2SeqFamily& family : kFamilies)
    if (is_spelling(family.model_type, type)) return &family;
  return nullptr;
}

Seq2SeqConfig read_seq2seq_config(const Checkpoint& checkpoint) {
  try {
    const nlohmann::json document = Fields::parse(checkpoint.config(), (checkpoint.folder() / "config.json").string());
    const Fields fields(document, "config.json");
    const Seq2SeqFamily* family = find_seq2seq_family(checkpoint);
    if (family == nullptr)
      fail(ErrorCode::unsupported, "the model_type '{}' is not that of an encoder-decoder that Lathe knows",
           fields.optional_text("model_type").value_or(""));
    Seq2SeqConfig config{family, starting_from(*family, family->encoder), starting_from(*family, family->decoder), {}};
    read_sizes(fields, family->encoder_fields, config.encoder);
    read_sizes(fields, family->decoder_fields, config.decoder);
    if (family->refine != nullptr) family->refine(fields, config);
    check(fields, config);
    fields.expect_all_read(neutral());
    return config;
  } catch (Error& error) {
    if (error.file().empty()) error.in_file((checkpoint.folder() / "config.json").string());
    throw;
  }
}

}  // namespace lathe::checkpoint
