// From a checkpoint to the graph of a decoder. One graph serves chunks of prompts, single tokens and mixtures: a step
// runs T tokens of S sequences, whose keys and values live in a pool of N blocks.
//
// Inputs, in this order, i32 but for the caches: token_ids [T]; positions [T]; block_positions [T] (only where
// info.block_positions or info.dynamic_context); sequence_starts [S + 1]; context_lengths [S]; prefix_lengths [S] (only
// where info.prefix_mask); block_table [S, B]; logit_rows [R], tokens of the step; then key_cache.i and value_cache.i
// of each layer, written in place (graph/ops/paged_attention.h says what these mean). Output: logits, f32 [R, vocab].
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/generation_rules.h"
#include "checkpoint/weight_options.h"
#include "graph/graph.h"

namespace lathe::checkpoint {

struct DecoderOptions {
  // f32: weights in bf16 are widened, those in f16 stay (products widen them exactly). f16, bf16: activations too.
  DType compute = DType::f32;
  DType cache = DType::f32;  // what paged_attention takes: f32, f16, bf16, i8 or f8e4m3
  int64_t block_size = 16;
  int64_t max_positions = 0;  // 0: what the model was made for
  WeightOptions weights = {};
};

// What the encoder of an encoder-decoder reads, and how much of it (checkpoint/seq2seq.h).
struct SourceInfo {
  int64_t max_length = 0;            // states of the longest source; 0: there is no encoder
  int64_t vocab = 0;                 // of tokens
  int64_t mel_bins = 0, frames = 0;  // of a spectrogram, where the encoder hears: always this size
  int64_t hidden = 0;                // features of a state
  int64_t heads = 0, head_dim = 0;   // of cached keys and values
};

struct DecoderInfo {
  std::string family;
  int64_t vocab = 0, layers = 0, kv_heads = 0, head_dim = 0, value_dim = 0;
  int64_t max_positions = 0;
  int64_t block_size = 0;
  DType cache = DType::f32;
  std::vector<int64_t> windows;  // by layer; 0: none
  bool prefix_mask = false, block_positions = false;
  std::vector<int32_t> eos_ids;         // any of them ends a text; may be empty
  int32_t bos_id = -1, pad_id = -1;     // -1: none
  int32_t mask_id = -1, gmask_id = -1;  // where block_positions: what they are counted from
  // Longer sequences use the second half of positions, from their first token on: one that becomes so is computed anew.
  // 0: none do.
  int64_t long_context = 0;
  // Where rotation hangs on how long the sequence has become, beyond this many tokens; 0: nowhere.
  int64_t dynamic_context = 0;
  std::vector<std::string> unused_tensors;  // in the folder, but not of this model
  SourceInfo source;
  GenerationRules rules;
};

struct Decoder {
  std::unique_ptr<Graph> graph;
  DecoderInfo info;
};

// Weights become constants that view the mapped files, but for those that are rounded, unpacked or widened. Throws what
// read_model_config() and Weights throw, and Error(invalid_argument) for options that do not fit the model.
Decoder build_decoder(const Checkpoint& checkpoint, const DecoderOptions& options = {});

}  // namespace lathe::checkpoint
