// From a checkpoint to the graph of an encoder: BERT and its relatives, DeBERTa, ModernBERT.
//
// Inputs as the usual ONNX exports name them, i64 [batch, sequence]: input_ids, attention_mask (0: padding), and
// token_type_ids where the model has several types. Output: logits, [batch, labels] for a classification of the text,
// [batch, sequence, vocabulary or labels] for masked language models and classifications of tokens; start_logits and
// end_logits [batch, sequence] for answers that are parts of a text; for a plain model last_hidden_state [batch,
// sequence, hidden] and, where the checkpoint has a pooler, pooler_output [batch, hidden].
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "checkpoint/checkpoint.h"
#include "graph/graph.h"

namespace lathe::checkpoint {

enum class EncoderTask : uint8_t { features, masked_lm, classify_text, classify_tokens, answer_spans };

struct EncoderInfo {
  std::string family;
  EncoderTask task = EncoderTask::features;
  int64_t vocab = 0, hidden = 0;
  int64_t max_positions = 0;        // of the longest sequence
  std::vector<std::string> labels;  // of classifications, by their number; empty where config.json names none
  std::vector<std::string> unused_tensors;
};

struct Encoder {
  std::unique_ptr<Graph> graph;
  EncoderInfo info;
};

// Whether the folder's model_type is one that build_encoder() knows.
bool is_encoder(const Checkpoint& checkpoint);

// `compute` is f32, f16 or bf16; outputs are f32. Weights become constants that view the mapped files. Throws
// Error(unsupported) that names the model_type, task or fields that Lathe does not know, Error(invalid_model) that
// lists the weights that do not fit.
Encoder build_encoder(const Checkpoint& checkpoint, DType compute = DType::f32);

}  // namespace lathe::checkpoint
