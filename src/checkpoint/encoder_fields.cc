#include "checkpoint/encoder_fields.h"

#include <cmath>
#include <string>

#include "base/error.h"
#include "checkpoint/spellings.h"

namespace lathe::checkpoint {
namespace {

// "p2c|c2p", or a list of these.
void read_disentangled_terms(const Fields& fields, EncoderConfig::Disentangled& terms) {
  std::string all;
  if (const nlohmann::json* kinds = fields.any("pos_att_type"); kinds != nullptr && kinds->is_string())
    all = kinds->get<std::string>();
  else
    for (const std::string& kind : fields.texts("pos_att_type")) all += kind + "|";
  std::erase(all, ' ');
  find_spelling(all, [&](std::string_view kind) {
    if (kind == "c2p")
      terms.by_key = true;
    else if (kind == "p2c")
      terms.by_query = true;
    else if (!kind.empty())
      fields.refuse("pos_att_type");
    return false;
  });
}

Pooling read_pooling(const Fields& fields, std::string_view keys, std::string_view otherwise) {
  const std::string pooling = fields.optional_text(keys).value_or(std::string(otherwise));
  if (pooling == "cls" || pooling == "bos") return Pooling::first;
  if (pooling == "mean") return Pooling::mean;
  if (pooling != "late") fields.refuse(keys);
  return Pooling::mean_of_classes;
}

}  // namespace

// Attention to a few blocks of the text alone is not computed.
void expect_full_attention(const Fields& fields, EncoderConfig&) {
  if (fields.optional_text("attention_type").value_or("block_sparse") != "original_full")
    fields.refuse("attention_type");
  fields.expect_flag("rescale_embeddings", false);
  fields.expect_flag("use_bias", true);
  for (const std::string_view key : {"block_size", "num_random_blocks"}) fields.any(key);  // of the other attention
}

void read_mpnet(const Fields& fields, EncoderConfig& config) {
  config.pad_id = 1;  // whatever the file says
  config.max_length = config.model.max_positions - 2;
  config.buckets = {.buckets = fields.size("relative_attention_num_buckets", 32), .both_ways = true};
}

void read_deberta(const Fields& fields, EncoderConfig& config) {
  ModelConfig& model = config.model;
  EncoderConfig::Disentangled& terms = config.disentangled;
  read_disentangled_terms(fields, terms);
  model.attention_scale = 1 / std::sqrt(static_cast<double>(model.head_dim * (1 + terms.by_key + terms.by_query)));
  const int64_t reach = fields.optional_integer("max_relative_positions").value_or(-1);
  terms.buckets.max_distance = reach < 1 ? model.max_positions : reach;
  if (!fields.flag("relative_attention", false)) terms = {};
  if (!fields.flag("position_biased_input", true)) model.names.positions = {};
  if (!fields.has("type_vocab_size")) config.token_types = 0;
  if (fields.has("pooler_hidden_act")) config.head_activation = read_activation(fields, "pooler_hidden_act");
  if (config.task == EncoderTask::masked_lm) fields.expect_flag("legacy", true);
  for (const std::string_view key : {"pooler_hidden_size", "embedding_size"})
    if (fields.size(key, model.hidden) != model.hidden) fields.refuse(key);
  if (fields.size("attention_head_size", model.head_dim) != model.head_dim) fields.refuse("attention_head_size");
  for (const std::string_view key : {"legacy", "pooler_dropout"}) fields.any(key);
  fields.expect_flag("talking_head", false);
}

void read_deberta_v2(const Fields& fields, EncoderConfig& config) {
  read_deberta(fields, config);
  EncoderConfig::Disentangled& terms = config.disentangled;
  const int64_t buckets = fields.optional_integer("position_buckets").value_or(-1);
  const std::string norm = fields.optional_text("norm_rel_ebd").value_or("none");
  if (norm != "none" && norm != "layer_norm") fields.refuse("norm_rel_ebd");
  const bool shared = fields.flag("share_att_key", false);
  fields.expect_number("conv_kernel_size", 0);
  for (const std::string_view key : {"conv_act", "conv_groups"}) fields.any(key);  // of that convolution
  if (!terms.by_key && !terms.by_query) return;
  terms.normed = norm == "layer_norm";
  terms.shared = shared;
  if (buckets < 1) return;
  if (buckets < 4 || terms.buckets.max_distance < buckets) fields.refuse("position_buckets");
  terms.buckets.buckets = buckets;
}

void read_modernbert(const Fields& fields, EncoderConfig& config) {
  ModelConfig& model = config.model;
  model.traits.norm_bias = fields.flag("norm_bias", false);
  set_attention_bias(model, fields.flag("attention_bias", false));
  model.traits.biases.mlp = fields.flag("mlp_bias", false);
  config.head_bias = fields.flag("classifier_bias", false);
  config.decoder_bias = fields.flag("decoder_bias", true);
  if (fields.has("classifier_activation")) config.head_activation = read_activation(fields, "classifier_activation");
  config.masked_activation = config.head_activation;
  config.pooling = read_pooling(fields, "classifier_pooling", "cls");
  // The width is that of both sides together.
  const int64_t window = fields.size("local_attention", 128), interval = fields.size("global_attn_every_n_layers", 3);
  if (window < 2) fields.refuse("local_attention");
  set_windows(fields, model, window / 2, [&](int64_t layer) { return layer % interval != 0; });
  fields.any("layer_norm_eps");  // again
}

void read_eurobert(const Fields& fields, EncoderConfig& config) {
  ModelConfig& model = config.model;
  set_attention_bias(model, fields.flag("attention_bias", false));
  model.traits.biases.mlp = config.decoder_bias = fields.flag("mlp_bias", false);
  config.pooling = read_pooling(fields, "classifier_pooling|clf_pooling", "late");
}

// Older files speak of GPT-2, and of much that could be otherwise.
void read_nomic_bert(const Fields& fields, EncoderConfig&) {
  if (fields.optional_text("activation_function").value_or("swiglu") != "swiglu") fields.refuse("activation_function");
  fields.expect_number("rotary_emb_fraction", 1);
  for (const std::string_view key : {"rotary_scaling_factor", "rotary_emb_scale_base"})
    if (fields.has(key)) fields.refuse(key);
  for (const std::string_view key :
       {"causal", "mlp_fc1_bias", "mlp_fc2_bias", "parallel_block", "prenorm", "use_rms_norm", "qkv_proj_bias",
        "rotary_emb_interleaved", "scale_attn_by_inverse_layer_idx"})
    fields.expect_flag(key, false);
  fields.expect_flag("scale_attn_weights", true);
  for (const std::string_view key :
       {"dense_seq_output", "fused_bias_fc", "fused_dropout_add_ln", "max_trained_positions", "pad_vocab_size_multiple",
        "parallel_block_tied_norm", "use_xentropy"})
    fields.any(key);  // of the implementation
}

}  // namespace lathe::checkpoint
