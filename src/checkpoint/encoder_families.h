// The table of encoder families: one row says what a family is made of, what it calls its tensors and fields, and which
// of its fields change the arithmetic. A new family is a new row.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/common_fields.h"
#include "checkpoint/encoder.h"
#include "checkpoint/relative_positions.h"

namespace lathe::checkpoint {

// A head that ends a model: a dense layer, an activation, a norm, and what is applied to the result. Empty: not there.
struct EncoderHead {
  std::string_view dense{}, norm{}, output{};
  // Of masked language models: the output matrix, or what the embedding is stored as again, and the whole name of its
  // bias.
  std::string_view decoder{}, bias{};
};

// Disentangled attention (arXiv 2006.03654): embeddings of relative positions and their norm, behind the root, and
// their projections to keys and queries in every layer.
struct DisentangledNames {
  std::string_view table{}, norm{}, key{}, query{};
  bool key_bias = true;
};

// What a classification of texts reads: the first token, the mean of all, or it is the mean over the classes of all.
enum class Pooling : uint8_t { first, mean, mean_of_classes };

struct EncoderConfig;

struct EncoderFamily {
  std::string_view model_type;  // spellings, "a|b"
  Names names{};
  Traits traits{};
  FieldNames fields{};
  double rope_base = 10000;            // where config.json does not say
  std::string_view local_rope_base{};  // field of what layers with a window have instead
  std::string_view token_types{}, task_types{}, pooler{};
  std::string_view projection{};       // of embeddings that are narrower than the layers, from `embedding_size`
  std::string_view relative_biases{};  // a number per head and bucket that is added to scores
  DisentangledNames disentangled{};
  std::string_view query_bias{}, value_bias{};  // of projections that are joint and have none; whole, without an ending
  EncoderHead masked_lm{}, text{}, tokens{}, spans{.output = "qa_outputs"};
  Activation text_activation = Activation::tanh;  // between `dense` and `output` of classifications
  bool pooled_text = false;                       // the text head reads the pooler's output
  bool padded_positions = false;  // positions count from the padding token's number on, over what is no padding
  bool shared_layer = false;      // one layer, applied again and again
  bool discriminates = false;     // pretraining taught it which words were replaced, not what is masked
  // What further fields of the family change; the common ones are read before.
  void (*refine)(const Fields& fields, EncoderConfig& config) = nullptr;
};

struct EncoderConfig {
  const EncoderFamily* family = nullptr;
  ModelConfig model;  // windows: how far a token sees to either side
  EncoderTask task = EncoderTask::features;
  std::vector<std::string> labels;
  int64_t label_count = 0, pad_id = 0, token_types = 0, task_types = 0;
  int64_t max_length = 0;
  RelativeBuckets buckets;
  struct Disentangled {
    bool by_key = false, by_query = false;  // the position's key meets the query, its query the key
    bool shared = false;                    // positions are projected as tokens are
    bool normed = false;
    LogBuckets buckets;
  } disentangled;
  Activation masked_activation = Activation::gelu_erf, head_activation = Activation::tanh;
  Pooling pooling = Pooling::first;
  bool head_bias = true, decoder_bias = true;
};

// Their model_types, for messages.
std::string known_encoders();
// Null where the model_type is of no encoder that Lathe knows.
const EncoderFamily* find_encoder_family(const Fields& fields);

// Throws as build_encoder() does.
EncoderConfig read_encoder_config(const Fields& fields);

}  // namespace lathe::checkpoint
