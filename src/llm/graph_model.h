// A model as a compiled graph. The caches of its layers are inputs of the graph that it updates in place; their memory,
// a pool of blocks for each, is allocated here, on the device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "build/compiler.h"
#include "checkpoint/decoder.h"
#include "lathe/lathe.h"
#include "llm/source_reader.h"
#include "llm/step_model.h"
#include "runtime/device_buffer.h"

namespace lathe::llm {

struct GraphModelOptions {
  CompileOptions compile;
  SessionOptions session;
  int64_t blocks = 0;  // of the pool; 0: enough for `sequences` of full length, as far as there is memory
  int64_t sequences = 1;
  size_t swap_memory = 0;    // bytes of the host for copies of blocks
  size_t device_budget = 0;  // bytes on a device with memory of its own; 0: all that is free
  bool may_shorten = false;  // a context whose keys and values do not fit becomes as long as they do
};

// Positions of a prompt and what follows it, as the model counts them.
std::unique_ptr<Layout> lay_out(const checkpoint::DecoderInfo& info, std::span<const int32_t> prompt);
// Bytes that keys and values may take of the memory that is free once the weights are in place, with room left for
// activations and for whoever else.
size_t cache_memory(const DeviceContext& device);
// Throws Error(out_of_memory): keys and values of a context take more than there is.
[[noreturn]] void refuse_context(int64_t context, size_t bytes, size_t free_bytes);

class GraphModel : public StepModel {
 public:
  // Throws Error(out_of_memory) when not even one sequence of full length fits, and it may not be shortened.
  GraphModel(checkpoint::Decoder decoder, const GraphModelOptions& options);
  // With an encoder, whose states the decoder's first step for a source takes into a pool of blocks of their own.
  GraphModel(checkpoint::Seq2Seq model, const GraphModelOptions& options);
  ~GraphModel() override;

  const ModelFacts& facts() const override { return facts_; }
  std::unique_ptr<Layout> layout(std::span<const int32_t> prompt) const override { return lay_out(info_, prompt); }
  const checkpoint::GenerationRules& rules() const override { return info_.rules; }
  std::span<const float> run(const StepBatch& batch) override;
  bool choose(const StepBatch& batch, std::vector<Likeliest>& likeliest) override;
  // All outputs, of a graph that has others; on a GPU rows may follow that belong to no token.
  std::span<const Output> run_all(const StepBatch& batch);
  void copy_block(BlockId from, BlockId to) override;
  int64_t saved_blocks() const override { return saved_blocks_; }
  void save_block(BlockId block, BlockId copy) override;
  void load_block(BlockId copy, BlockId block) override;

  Session& session() { return session_; }

 private:
  struct Cache {
    std::string name;
    DType dtype;
    std::vector<int64_t> dims;
    size_t block_bytes = 0;
    void* memory = nullptr;
    bool of_source = false;
  };
  GraphModel(checkpoint::Decoder decoder, std::unique_ptr<SourceReader> reader, const GraphModelOptions& options);
  void find_caches(const Graph& graph);
  std::shared_ptr<const lathe::Engine> make_engine(checkpoint::Decoder decoder, const GraphModelOptions& options);
  // Blocks of the longest sequence, and of the longest source.
  int64_t longest(bool of_source) const;
  size_t block_bytes(bool of_source) const;
  int64_t choose_source_blocks(const GraphModelOptions& options, size_t memory) const;
  int64_t choose_blocks(const GraphModelOptions& options, size_t memory);
  void allocate_caches(const GraphModelOptions& options);
  // The values, and zeros (or `filler`) up to `count`.
  void bind(std::string_view name, std::span<const int32_t> values, int64_t count, int32_t filler = 0);
  // The rows of a table, made wider, and empty ones up to `rows`. `wide` is what is bound.
  void bind_table(std::string_view name, std::span<const int32_t> table, int64_t width, int64_t rows,
                  std::vector<int32_t>& wide);
  void bind_sources(const StepBatch& batch, int64_t sequences);
  int64_t computed_rows(const StepBatch& batch) const;
  // Calls visit(part of the block in a cache, its place in the copy).
  template <class Visit>
  void for_each_part(BlockId block, BlockId copy, const Visit& visit);

  checkpoint::DecoderInfo info_;
  ModelFacts facts_;
  std::vector<Cache> caches_;
  std::vector<std::string> integers_;  // inputs that the graph has besides the caches
  int64_t saved_blocks_ = 0;
  std::unique_ptr<std::byte[]> saved_;
  size_t budget_for_caches_ = 0;   // 0: what is free
  bool brings_likeliest_ = false;  // behind its logits the graph gives the likeliest token of each row, and its logit
  Session session_;
  DeviceBuffer logits_;                       // of a step that leaves them on the device
  std::unique_ptr<SourceReader> reader_;      // of a model with an encoder
  std::vector<Input> inputs_;                 // of a run; the caches come first and stay
  std::vector<int32_t> table_;                // of a run, widened
  std::vector<std::vector<int32_t>> padded_;  // of a run: its other integers, by input
  std::vector<int32_t> source_starts_, source_table_;
  std::vector<float> states_;  // of new sources
};

}  // namespace lathe::llm
