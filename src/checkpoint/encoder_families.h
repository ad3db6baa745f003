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
  std::string_view token_types{}, task_types{}, pooler{};
  std::string_view projection{};  // of embeddings that are narrower than the layers, from `embedding_size`
  FieldNames fields{};
  EncoderHead masked_lm{}, text{}, tokens{};
  Activation text_activation = Activation::tanh;  // between `dense` and `output`
  bool pooled_text = false;                       // the text head reads the pooler's output
  bool padded_positions = false;  // positions count from the padding token's number on, over what is no padding
  bool shared_layer = false;      // one layer, applied again and again
  bool sparse = false;            // attention reaches a few blocks, unless attention_type says otherwise
  bool discriminates = false;     // pretraining taught it which words were replaced, not what is masked
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

constexpr Names bert_names(std::string_view root) {
  Names names = kBertNames;
  names.root = root;
  return names;
}

inline constexpr Names kAlbertNames{.root = "albert.",
                                    .embedding = "embeddings.word_embeddings",
                                    .embedding_norm = "embeddings.LayerNorm",
                                    .positions = "embeddings.position_embeddings",
                                    .layers = "encoder.albert_layer_groups.0.albert_layers.",
                                    .norm1 = "attention.LayerNorm",
                                    .norm2 = "full_layer_layer_norm",
                                    .q = "attention.query",
                                    .k = "attention.key",
                                    .v = "attention.value",
                                    .attention_out = "attention.dense",
                                    .up = "ffn",
                                    .down = "ffn_output",
                                    .buffers = "embeddings.position_ids|embeddings.token_type_ids"};

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

constexpr EncoderFamily bert() {
  return {.model_type = "bert",
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
          .pooled_text = true};
}
constexpr EncoderFamily ernie() {
  EncoderFamily family = bert();
  family.model_type = "ernie";
  family.names = bert_names("ernie.");
  family.task_types = "embeddings.task_type_embeddings";
  return family;
}
constexpr EncoderFamily albert() {
  EncoderFamily family = bert();
  family.model_type = "albert";
  family.names = kAlbertNames;
  family.pooler = "pooler";
  family.projection = "encoder.embedding_hidden_mapping_in";
  family.masked_lm = {.dense = "predictions.dense",
                      .norm = "predictions.LayerNorm",
                      .decoder = "predictions.decoder",
                      .bias = "predictions.bias"};
  family.shared_layer = true;
  return family;
}
constexpr EncoderFamily electra() {
  EncoderFamily family = bert();
  family.model_type = "electra";
  family.names = bert_names("electra.");
  family.pooler = {};
  family.projection = "embeddings_project";
  family.masked_lm = {.dense = "generator_predictions.dense",
                      .norm = "generator_predictions.LayerNorm",
                      .decoder = "generator_lm_head",
                      .bias = "generator_lm_head.bias"};
  family.text = {.dense = "classifier.dense", .output = "classifier.out_proj"};
  family.text_activation = Activation::gelu_erf;
  family.pooled_text = false;
  family.discriminates = true;
  return family;
}
constexpr EncoderFamily big_bird() {
  EncoderFamily family = bert();
  family.model_type = "big_bird";
  family.sparse = true;
  family.pooler = "pooler";
  family.text = {.dense = "classifier.dense", .output = "classifier.out_proj"};
  family.text_activation = Activation::gelu_tanh;
  family.pooled_text = false;
  return family;
}
constexpr EncoderFamily roberta(std::string_view model_type, std::string_view root) {
  return {.model_type = model_type,
          .names = bert_names(root),
          .token_types = "embeddings.token_type_embeddings",
          .pooler = "pooler.dense",
          .fields = kBertFields,
          .masked_lm = {.dense = "lm_head.dense",
                        .norm = "lm_head.layer_norm",
                        .decoder = "lm_head.decoder",
                        .bias = "lm_head.bias"},
          .text = {.dense = "classifier.dense", .output = "classifier.out_proj"},
          .tokens = {.output = "classifier"},
          .padded_positions = true};
}

inline constexpr EncoderFamily kEncoderFamilies[] = {
    bert(),
    ernie(),
    albert(),
    electra(),
    big_bird(),
    roberta("roberta|xlm-roberta|camembert", "roberta."),
    roberta("data2vec-text", "data2vec_text."),
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
