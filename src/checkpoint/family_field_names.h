// What families call the fields of their config.json; the rows of families.cc pick.
#pragma once

#include "checkpoint/common_fields.h"

namespace lathe::checkpoint {

constexpr FieldNames layer_norm_fields(std::string_view epsilon) {
  FieldNames fields;
  fields.epsilon = epsilon;
  return fields;
}

constexpr FieldNames gemma2_fields() {
  FieldNames fields;
  fields.activation = "hidden_activation";
  return fields;
}

inline constexpr FieldNames kGpt2Fields{.hidden = "n_embd|hidden_size",
                                        .layers = "n_layer|num_hidden_layers",
                                        .heads = "n_head|num_attention_heads",
                                        .kv_heads = {},
                                        .head_dim = {},
                                        .intermediate = "n_inner",
                                        .positions = "n_positions|max_position_embeddings",
                                        .epsilon = "layer_norm_epsilon",
                                        .activation = "activation_function"};

inline constexpr FieldNames kBloomFields{.hidden = "hidden_size|n_embed",
                                         .layers = "n_layer|num_hidden_layers",
                                         .heads = "n_head|num_attention_heads",
                                         .kv_heads = {},
                                         .head_dim = {},
                                         .intermediate = "n_inner",
                                         .positions = "seq_length",
                                         .epsilon = "layer_norm_epsilon",
                                         .activation = {}};

inline constexpr FieldNames kFalconFields{.layers = "num_hidden_layers|n_layer",
                                          .heads = "num_attention_heads|n_head",
                                          .kv_heads = {},
                                          .head_dim = {},
                                          .intermediate = "ffn_hidden_size",
                                          .epsilon = "layer_norm_epsilon",
                                          .activation = "activation"};

inline constexpr FieldNames kGptNeoFields{.layers = "num_layers|num_hidden_layers",
                                          .heads = "num_heads|num_attention_heads",
                                          .kv_heads = {},
                                          .head_dim = {},
                                          .epsilon = "layer_norm_epsilon",
                                          .activation = "activation_function"};

inline constexpr FieldNames kGptNeoxFields{.kv_heads = {},
                                           .head_dim = {},
                                           .epsilon = "layer_norm_eps",
                                           .rotary_fraction = "rotary_pct|partial_rotary_factor",
                                           .rope_base = "rotary_emb_base|rope_theta"};

inline constexpr FieldNames kOptFields{
    .kv_heads = {}, .head_dim = {}, .intermediate = "ffn_dim", .epsilon = {}, .activation = "activation_function"};

constexpr FieldNames jais_fields() {
  FieldNames fields = kGpt2Fields;
  fields.activation = {};
  return fields;
}

inline constexpr FieldNames kDbrxFields{.hidden = "d_model|hidden_size",
                                        .layers = "n_layers|num_hidden_layers",
                                        .heads = "n_heads|num_attention_heads",
                                        .kv_heads = {},
                                        .head_dim = {},
                                        .intermediate = {},
                                        .positions = "max_seq_len|max_position_embeddings",
                                        .epsilon = {},
                                        .activation = {}};

inline constexpr FieldNames kMptFields{.hidden = "d_model|hidden_size",
                                       .layers = "n_layers|num_hidden_layers",
                                       .heads = "n_heads|num_attention_heads",
                                       .kv_heads = {},
                                       .head_dim = {},
                                       .intermediate = {},
                                       .positions = "max_seq_len",
                                       .epsilon = "layer_norm_epsilon",
                                       .activation = {}};

inline constexpr FieldNames kXglmFields{.hidden = "d_model|hidden_size",
                                        .layers = "num_layers|num_hidden_layers",
                                        .heads = "attention_heads|num_attention_heads",
                                        .kv_heads = {},
                                        .head_dim = {},
                                        .intermediate = "ffn_dim",
                                        .epsilon = {},
                                        .activation = "activation_function"};

inline constexpr FieldNames kBioGptFields{.kv_heads = {}, .head_dim = {}, .epsilon = {}};

constexpr FieldNames gpt1_fields() {
  FieldNames fields = kGpt2Fields;
  fields.activation = "afn";
  return fields;
}

inline constexpr FieldNames kQwen1Fields{.kv_heads = {},
                                         .head_dim = "kv_channels",
                                         .positions = "seq_length|max_position_embeddings",
                                         .epsilon = "layer_norm_epsilon",
                                         .activation = {},
                                         .rotary_fraction = "rotary_pct",
                                         .rope_base = "rotary_emb_base"};

inline constexpr FieldNames kExaoneFields{
    .layers = "num_layers|num_hidden_layers", .epsilon = "layer_norm_epsilon", .activation = "activation_function"};

inline constexpr FieldNames kOldStableLmFields{.epsilon = "norm_eps|layer_norm_eps", .rotary_fraction = "rope_pct"};

inline constexpr FieldNames kChatGlmFields{.layers = "num_layers",
                                           .kv_heads = {},
                                           .head_dim = {},
                                           .intermediate = "inner_hidden_size",
                                           .positions = "max_sequence_length",
                                           .epsilon = "layernorm_epsilon",
                                           .activation = {},
                                           .rotary_fraction = {},
                                           .rope_base = {}};

inline constexpr FieldNames kChatGlm2Fields{.layers = "num_layers|num_hidden_layers",
                                            .kv_heads = {},
                                            .head_dim = "kv_channels",
                                            .intermediate = "ffn_hidden_size",
                                            .positions = "seq_length",
                                            .epsilon = "layernorm_epsilon",
                                            .activation = {},
                                            .vocab = "padded_vocab_size|vocab_size",
                                            .rotary_fraction = {},
                                            .rope_base = {}};

inline constexpr FieldNames kCtrlFields{.hidden = "n_embd|hidden_size",
                                        .layers = "n_layer|num_hidden_layers",
                                        .heads = "n_head|num_attention_heads",
                                        .kv_heads = {},
                                        .head_dim = {},
                                        .intermediate = "dff",
                                        .positions = "n_positions|max_position_embeddings",
                                        .epsilon = "layer_norm_epsilon",
                                        .activation = {}};

inline constexpr FieldNames kModernBertFields{
    .kv_heads = {}, .epsilon = "norm_eps", .activation = "hidden_activation", .rope_base = "global_rope_theta"};

}  // namespace lathe::checkpoint
