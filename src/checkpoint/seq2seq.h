// From a checkpoint to the graphs of an encoder-decoder: T5, BART, Marian, Whisper and what shares their architecture.
//
// The encoder's inputs are as the usual ONNX exports name them: input_ids and attention_mask (0: padding), i64 [batch,
// sequence]; or input_features, f32 [batch, mel bins, frames]. Output: last_hidden_state, f32 [batch, sequence,
// hidden].
//
// The decoder is that of decoder.h, whose steps may bring the states of sources that it has not seen. Its inputs are
// token_ids, positions, sequence_starts, context_lengths, block_table, logit_rows as there, then source_states, f32 [U,
// hidden], those of all new sources, one behind the other; source_starts [S + 1], in source_states; source_lengths [S];
// source_table [S, C], blocks of a pool of their own; key_cache.i and value_cache.i; source_key_cache.i and
// source_value_cache.i, where a source's keys and values stay from the step on that brings its states.
#pragma once

#include <memory>

#include "checkpoint/decoder.h"

namespace lathe::checkpoint {

struct SourceEncoder {
  std::unique_ptr<Graph> graph;
  SourceInfo info;
};

struct Seq2Seq {
  SourceEncoder encoder;
  Decoder decoder;
};

// Whether the folder's model_type is that of an encoder-decoder that build_seq2seq() knows.
bool is_seq2seq(const Checkpoint& checkpoint);

// The type that a model's activations stay within the range of, where it is to be computed in 16 bits.
DType suitable_half(const Checkpoint& checkpoint);

// Weights become constants that view the mapped files. They throw Error(unsupported) that names fields that Lathe does
// not know, Error(invalid_model) that lists the weights that do not fit, Error(invalid_argument) for options that do
// not fit the model.
SourceEncoder build_source_encoder(const Checkpoint& checkpoint, DType compute = DType::f32, int64_t max_positions = 0);
Seq2Seq build_seq2seq(const Checkpoint& checkpoint, const DecoderOptions& options = {});

}  // namespace lathe::checkpoint
