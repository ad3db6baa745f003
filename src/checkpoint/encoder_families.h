// The table of encoder families: names of tensors and fields, and the few things in which they differ.
#pragma once

#include <string_view>

#include "checkpoint/common_fields.h"

namespace lathe::checkpoint {

// A head that ends a model: a dense layer, an activation, a norm, and what is applied to the result. Empty: not there.
struct EncoderHead {
  std::string_view dense{}, norm{}, output{};
  // Of the output matrix where it is the embedding: its name, if it is stored again, and that of its bias.
  std::string_view decoder{}, bias{};
};

struct EncoderFamily {
  std::string_view model_type;  // spellings, "a|b"
  Names names{};                // qkv are separate, norms follow what they normalise
  std::string_view token_types{}, pooler{};
  FieldNames fields{};
  EncoderHead masked_lm{}, text{}, tokens{};
  Activation text_activation = Activation::tanh;  // between `dense` and `output`
  bool pooled_text = false;                       // the text head reads the pooler's output
  bool padded_positions = false;  // positions count from the padding token's number on, over what is no padding
};

inline constexpr FieldNames kBertFields{
    .kv_heads = {}, .head_dim = {}, .epsilon = "layer_norm_eps", .rotary_fraction = {}, .rope_base = {}};

inline constexpr Names kBertNames{.root = "bert.",
                                  .embedding = "embeddings.word_embeddings",
                                  .embedding_norm = "embeddings.LayerNorm",
                                  .positions = "embeddings.position_embeddings",
                                  .layers = "encoder.layer.",
                                  .norm1 = "attention.output.LayerNorm",
                                  .norm2 = "output.LayerNorm",
                                  .q = "attention.self.query",
                                  .k = "attention.self.key",
                                  .v = "attention.self.value",
                                  .attention_out = "attention.output.dense",
                                  .up = "intermediate.dense",
                                  .down = "output.dense",
                                  .buffers = "embeddings.position_ids|embeddings.token_type_ids"};

constexpr Names roberta_names() {
  Names names = kBertNames;
  names.root = "roberta.";
  return names;
}

inline constexpr Names kDistilBertNames{.root = "distilbert.",
                                        .embedding = "embeddings.word_embeddings",
                                        .embedding_norm = "embeddings.LayerNorm",
                                        .positions = "embeddings.position_embeddings",
                                        .layers = "transformer.layer.",
                                        .norm1 = "sa_layer_norm",
                                        .norm2 = "output_layer_norm",
                                        .q = "attention.q_lin",
                                        .k = "attention.k_lin",
                                        .v = "attention.v_lin",
                                        .attention_out = "attention.out_lin",
                                        .up = "ffn.lin1",
                                        .down = "ffn.lin2",
                                        .buffers = "embeddings.position_ids"};

inline constexpr EncoderFamily kEncoderFamilies[] = {
    {.model_type = "bert",
     .names = kBertNames,
     .token_types = "embeddings.token_type_embeddings",
     .pooler = "pooler.dense",
     .fields = kBertFields,
     .masked_lm = {.dense = "cls.predictions.transform.dense",
                   .norm = "cls.predictions.transform.LayerNorm",
                   .decoder = "cls.predictions.decoder",
                   .bias = "cls.predictions.bias"},
     .text = {.output = "classifier"},
     .tokens = {.output = "classifier"},
     .pooled_text = true},
    {.model_type = "roberta|xlm-roberta|camembert",
     .names = roberta_names(),
     .token_types = "embeddings.token_type_embeddings",
     .pooler = "pooler.dense",
     .fields = kBertFields,
     .masked_lm =
         {.dense = "lm_head.dense", .norm = "lm_head.layer_norm", .decoder = "lm_head.decoder", .bias = "lm_head.bias"},
     .text = {.dense = "classifier.dense", .output = "classifier.out_proj"},
     .tokens = {.output = "classifier"},
     .padded_positions = true},
    {.model_type = "distilbert",
     .names = kDistilBertNames,
     .fields = {.hidden = "dim",
                .layers = "n_layers",
                .heads = "n_heads",
                .kv_heads = {},
                .head_dim = {},
                .intermediate = "hidden_dim",
                .epsilon = {},
                .activation = "activation",
                .rotary_fraction = {},
                .rope_base = {}},
     .masked_lm = {.dense = "vocab_transform",
                   .norm = "vocab_layer_norm",
                   .decoder = "vocab_projector",
                   .bias = "vocab_projector.bias"},
     .text = {.dense = "pre_classifier", .output = "classifier"},
     .tokens = {.output = "classifier"},
     .text_activation = Activation::relu},
};

}  // namespace lathe::checkpoint
