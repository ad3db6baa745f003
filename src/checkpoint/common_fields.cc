#include "checkpoint/common_fields.h"

#include <cmath>

#include "base/error.h"

namespace lathe::checkpoint {

void read_sizes(const Fields& fields, const FieldNames& names, ModelConfig& config) {
  config.vocab = fields.size(names.vocab);
  config.hidden = fields.size(names.hidden);
  config.layers = fields.count(names.layers);
  config.heads = fields.count(names.heads);
  const auto size = [&](std::string_view keys, int64_t of_family, int64_t otherwise) {
    return fields.size(keys, of_family == 0 || fields.mentions(keys) ? otherwise : of_family);
  };
  config.kv_heads = size(names.kv_heads, config.kv_heads, config.heads);
  const bool divides = config.hidden % config.heads == 0;
  config.head_dim = size(names.head_dim, config.head_dim, divides ? config.hidden / config.heads : 0);
  if (config.head_dim == 0)
    fail(ErrorCode::invalid_model, "config.json: {} features cannot be divided among {} heads", config.hidden,
         config.heads);
  config.intermediate = fields.size(names.intermediate, 4 * config.hidden);
  config.embedding_width = config.hidden;
  config.max_positions = fields.size(names.positions, 2048);
  config.epsilon = fields.positive(names.epsilon, config.traits.epsilon);
  config.attention_scale = 1 / std::sqrt(static_cast<double>(config.head_dim));
  config.windows.assign(static_cast<size_t>(config.layers), 0);
  if (fields.has(names.activation)) config.traits.activation = read_activation(fields, names.activation);
  config.traits.tied = fields.flag("tie_word_embeddings", config.traits.tied);
}

Activation read_activation(const Fields& fields, std::string_view keys) {
  const auto activation = activation_named(fields.optional_text(keys).value_or(""));
  if (!activation) fields.refuse(keys);
  return *activation;
}

void set_windows(const Fields& fields, ModelConfig& config, int64_t window,
                 const std::function<bool(int64_t)>& is_local) {
  const std::vector<std::string> types = fields.texts("layer_types");
  if (!types.empty() && static_cast<int64_t>(types.size()) != config.layers) fields.refuse("layer_types");
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    bool local = is_local(layer);
    if (!types.empty()) {
      const std::string& type = types[static_cast<size_t>(layer)];
      local = type == (config.chunked ? "chunked_attention" : "sliding_attention");
      if (!local && type != "full_attention") fields.refuse("layer_types");
    }
    config.windows[static_cast<size_t>(layer)] = local ? window : 0;
  }
}

int64_t window_size(const Fields& fields, int64_t otherwise) {
  return fields.size("sliding_window", fields.mentions("sliding_window") ? 0 : otherwise);
}

void read_window(const Fields& fields, ModelConfig& config, int64_t otherwise) {
  set_windows(fields, config, window_size(fields, otherwise), [](int64_t) { return true; });
}

void read_unrotated_layers(const Fields& fields, ModelConfig& config) {
  const std::vector<int64_t> turning = fields.integers("no_rope_layers");
  const int64_t interval = fields.size("no_rope_layer_interval", 4);
  if (!turning.empty() && static_cast<int64_t>(turning.size()) < config.layers) fields.refuse("no_rope_layers");
  for (int64_t layer = 0; layer < config.layers; ++layer)
    config.unrotated.push_back(turning.empty() ? (layer + 1) % interval == 0
                                               : turning[static_cast<size_t>(layer)] == 0);
}

void leave_global_layers_unrotated(ModelConfig& config) {
  for (const int64_t window : config.windows) config.unrotated.push_back(window == 0);
}

void set_attention_bias(ModelConfig& config, bool bias) {
  config.traits.biases.qkv = config.traits.biases.attention_out = bias;
}

void expect_usual(const Fields& fields) {
  for (const std::string_view key :
       {"is_encoder_decoder", "add_cross_attention", "rope_interleaved", "attn_bias", "qk_layer_norms"})
    fields.expect_flag(key, false);
  if (const nlohmann::json* pruned = fields.any("pruned_heads"); pruned != nullptr && !pruned->empty())
    fields.refuse("pruned_heads");
}

const std::set<std::string, std::less<>>& neutral_fields() {
  static const std::set<std::string, std::less<>> kNeutral{
      // of the file
      "architectures", "auto_map", "dtype", "finetuning_task", "id2label", "label2id", "model_type", "num_labels",
      "problem_type", "tokenizer_class", "tokenizer_type", "torch_dtype", "transformers_version", "unsloth_fixed",
      "unsloth_version", "custom_pipelines", "conversational", "is_llama_config", "transformers.js_config",
      // training
      "activation_dropout", "attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "classifier_dropout",
      "dropout", "embd_pdrop", "embed_dropout", "ffn_dropout", "gradient_checkpointing", "hidden_dropout",
      "hidden_dropout_prob", "init_std", "initializer_factor", "initializer_range", "layerdrop", "output_router_logits",
      "pretraining_tp", "resid_dropout", "resid_pdrop", "residual_dropout", "router_aux_loss_coef",
      "router_jitter_noise", "bias_dropout_fusion", "embedding_dropout", "qa_dropout", "seq_classif_dropout",
      "neftune_noise_alpha", "weight_decay", "classifier_dropout_prob", "mlp_dropout", "initializer_cutoff_factor",
      "repad_logits_with_grad", "sparse_prediction", "sparse_pred_ignore_index",
      // tokens and sampling
      "begin_suppress_tokens", "bos_token_id", "do_sample", "end_token_id", "eos_token_id", "forced_bos_token_id",
      "forced_eos_token_id", "max_length", "max_new_tokens", "min_length", "num_beams", "pad_token_id", "prefix",
      "repetition_penalty", "sep_token_id", "suppress_tokens", "temperature", "top_k", "top_p", "unk_token_id",
      "task_specific_params", "cls_token_id", "mask_token_id", "bad_words_ids", "decoder_start_token_id",
      "diversity_penalty", "early_stopping", "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty",
      "length_penalty", "max_tokenizer_truncation", "model_max_length", "no_repeat_ngram_size", "num_beam_groups",
      "num_return_sequences", "pad_key_length", "remove_invalid_values", "typical_p",
      // implementation
      "apply_query_key_layer_scaling", "attention_softmax_in_fp32", "attn_implementation", "cache_implementation",
      "chunk_size_feed_forward", "flash_attention", "fp32_residual_connection", "inference_runner",
      "deterministic_flash_attn", "reference_compile", "masked_softmax_fusion", "max_batch_size", "max_sequence_length",
      "n_ctx", "offset_alibi", "output_attentions", "output_hidden_states", "pre_allocate_kv_cache",
      "reorder_and_upcast_attn", "return_dict", "scale_attention_softmax_in_fp32", "skip_bias_add", "skip_bias_add_qkv",
      "slow_but_exact", "torchscript", "output_past", "sinusoidal_pos_embds", "tie_weights_", "use_bfloat16",
      "use_cache", "use_flash_attn", "validate_runner_input", "ff_factor", "output_scores", "return_dict_in_generate",
      "sliding_window_size", "tf_legacy_loss", "down_scale_factor", "gap_size", "layers_to_keep", "net_structure_type",
      "num_memory_blocks",
      // heads that a language model does not have
      "directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head",
      "pooler_type", "summary_activation", "summary_first_dropout", "summary_last_dropout", "summary_proj_to_labels",
      "summary_type", "summary_use_proj",
      // of the eyes of a model that sees
      "perceiver_config", "pixel_shuffle_factor", "use_resampler",
      // of the side of an encoder-decoder: every decoder here is one, whatever this says
      "cross_attention_hidden_size", "is_decoder", "tie_encoder_decoder"};
  return kNeutral;
}

}  // namespace lathe::checkpoint
