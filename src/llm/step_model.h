// What the engine asks of a model: compute some tokens of some sequences, and copy a block of the cache. One call may
// mix pieces of prompts and single tokens of answers; the model sees no difference.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "checkpoint/generation_rules.h"
#include "lathe/llm.h"
#include "llm/block_pool.h"

namespace lathe::llm {

// Where the tokens of one request's sequences stand. The tokens of a prompt's prefix see each other, later ones see
// what is before them.
class Layout {
 public:
  virtual ~Layout() = default;
  virtual int64_t prefix_length() const { return 0; }
  // Sequences of more tokens have other positions than shorter ones, from the first on; 0: no such length.
  virtual int64_t long_from() const { return 0; }
  // Of the token with this index, prompt or answer, in a sequence of so many tokens.
  virtual int32_t position(int64_t index, int64_t) const { return static_cast<int32_t>(index); }
  // What else the token with this index turns by. Where that of the first token differs, keys of equal prompts do.
  virtual int32_t block_position(int64_t) const { return 0; }
};

// What the encoder of a model that has one reads: tokens, or a spectrogram.
struct Source {
  std::span<const int32_t> ids;
  std::span<const float> features;
  bool empty() const { return ids.empty() && features.empty(); }
};

// T tokens of S sequences, R of which give logits. Token t belongs to sequence s when sequence_starts[s] <= t <
// sequence_starts[s + 1].
struct StepBatch {
  int64_t sequences = 0, table_width = 0;
  std::span<const int32_t> token_ids, positions, block_positions;  // [T]
  std::span<const int32_t> sequence_starts;                        // [S + 1]
  std::span<const int32_t> context_lengths;                        // [S]; tokens in the cache once the step is done
  std::span<const int32_t> prefix_lengths;                         // [S]
  std::span<const int32_t> block_table;                            // [S, table_width]
  std::span<const int32_t> logit_rows;                             // [R]
  // Of a model with an encoder; else empty.
  int64_t source_width = 0;
  std::span<const int32_t> source_lengths;  // [S]; states of the source of each sequence
  std::span<const int32_t> source_table;    // [S, source_width]; blocks of the pool for sources
  std::span<const Source> new_sources;      // [S]; empty ones are in their blocks already
};

// The likeliest token behind a row, the first of several, and its logit.
struct Likeliest {
  int64_t id = 0;
  float logit = 0;
};

class StepModel {
 public:
  virtual ~StepModel() = default;
  virtual const ModelFacts& facts() const = 0;
  virtual std::unique_ptr<Layout> layout(std::span<const int32_t>) const { return std::make_unique<Layout>(); }
  // What holds for every answer.
  virtual const checkpoint::GenerationRules& rules() const { return no_rules_; }
  // Logits [R, vocabulary], valid until the next run.
  virtual std::span<const float> run(const StepBatch& batch) = 0;
  // The same step where no more is wanted than the likeliest token of each row, [R]: models on a device of their own
  // need not bring the logits to the host. False, and nothing is done, where run() is as good.
  virtual bool choose(const StepBatch&, std::vector<Likeliest>&) { return false; }
  // The content of a block in all layers.
  virtual void copy_block(BlockId from, BlockId to) = 0;
  // Copies of blocks that the host has room for, so that a preempted request need not be computed again.
  virtual int64_t saved_blocks() const { return 0; }
  virtual void save_block(BlockId, BlockId /*copy*/) {}
  virtual void load_block(BlockId /*copy*/, BlockId) {}

 private:
  checkpoint::GenerationRules no_rules_;
};

}  // namespace lathe::llm
