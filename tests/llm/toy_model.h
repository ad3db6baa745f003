// A model that is wrong whenever its cache is: each slot of a block holds what a token and everything before it make
// together, as keys and values do, and logits come from all slots of a sequence, read back through the block table. A
// wrong block, a missed copy, a stale prefix or a cut prefix show in the answer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "llm/engine_core.h"
#include "llm/step_model.h"

namespace lathe::llm {

struct ToyOptions {
  int64_t vocabulary = 24;
  int64_t context = 64;
  int64_t blocks = 64;
  int64_t block_size = 4;
  // Tokens of a prompt up to the first zero see each other.
  bool prefix = false;
  int64_t long_from = 0;       // positions of longer sequences are others; 0: of none
  int64_t stretched_from = 0;  // tokens of longer sequences hang on the length at which they came; 0: none do
  int64_t saved_blocks = 0;    // that the host has room for
  std::vector<int32_t> eos = {1};
  // With an encoder: answers begin with `start` and depend on every token of the prompt, which is the source.
  int64_t source_context = 0, source_blocks = 0;
  int32_t start = 3;
};

class ToyModel : public StepModel {
 public:
  explicit ToyModel(const ToyOptions& options);

  const ModelFacts& facts() const override { return facts_; }
  std::unique_ptr<Layout> layout(std::span<const int32_t> prompt) const override;
  const checkpoint::GenerationRules& rules() const override { return rules_; }
  std::span<const float> run(const StepBatch& batch) override;
  bool choose(const StepBatch& batch, std::vector<Likeliest>& likeliest) override;
  void copy_block(BlockId from, BlockId to) override;
  int64_t saved_blocks() const override { return options_.saved_blocks; }
  void save_block(BlockId block, BlockId copy) override;
  void load_block(BlockId copy, BlockId block) override;

  // The logits behind these tokens, without any cache.
  std::vector<float> logits_of(std::span<const int32_t> tokens, const Layout& layout,
                               std::span<const int32_t> source = {}) const;

  int64_t steps = 0;
  int64_t tokens = 0;         // of all steps
  int64_t largest_step = 0;   // in tokens
  int64_t saves = 0;          // of blocks
  int64_t fail_at_step = -1;  // throws there
  bool chooses = false;       // as models on GPUs do
  int64_t choices = 0;        // steps that brought no logits
  int32_t poison = -1;        // logits of sequences that begin with it are no numbers

 private:
  struct Slot {
    int32_t token = -1;
    uint64_t value = 0;
  };
  void write(const StepBatch& batch, int64_t sequence);
  // What comes of the source of a sequence, which is stored first where it is new.
  uint64_t read_source(const StepBatch& batch, int64_t sequence);
  Slot& slot(const StepBatch& batch, int64_t sequence, int64_t index);
  void fill_row(uint64_t state, std::span<float> row) const;

  ToyOptions options_;
  ModelFacts facts_;
  checkpoint::GenerationRules rules_;
  std::vector<Slot> slots_, saved_;
  std::vector<int32_t> source_slots_;
  std::vector<uint64_t> sources_;  // of a step, by sequence
  std::vector<float> logits_;
};

SchedulerOptions scheduler_options(const ToyOptions& toy);

// What the request must answer, computed token by token with nothing beside it.
std::vector<std::vector<int32_t>> answers_alone(const ToyModel& model, const Request& request);

}  // namespace lathe::llm
