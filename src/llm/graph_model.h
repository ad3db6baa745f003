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

namespace lathe::llm {

struct GraphModelOptions {
  CompileOptions compile;
  SessionOptions session;
  int64_t blocks = 0;  // of the pool; 0: enough for `sequences` of full length, as far as there is memory
  int64_t sequences = 1;
  bool may_shorten = false;  // a context whose keys and values do not fit becomes as long as they do
};

class GraphModel : public StepModel {
 public:
  // Throws Error(out_of_memory) when not even one sequence of full length fits, and it may not be shortened.
  GraphModel(checkpoint::Decoder decoder, const GraphModelOptions& options);
  // With an encoder, whose states the decoder's first step for a source takes into a pool of blocks of their own.
  GraphModel(checkpoint::Seq2Seq model, const GraphModelOptions& options);
  ~GraphModel() override;

  const ModelFacts& facts() const override { return facts_; }
  std::unique_ptr<Layout> layout(std::span<const int32_t> prompt) const override;
  const checkpoint::GenerationRules& rules() const override { return info_.rules; }
  std::span<const float> run(const StepBatch& batch) override;
  void copy_block(BlockId from, BlockId to) override;

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
  void find_caches();
  size_t block_bytes(bool of_source) const;
  int64_t choose_source_blocks(const GraphModelOptions& options, double memory) const;
  int64_t choose_blocks(const GraphModelOptions& options, double memory);
  void allocate_caches(const GraphModelOptions& options);
  void bind_sources(const StepBatch& batch);
  void bind(std::string_view name, std::span<const int32_t> values, std::vector<int64_t> dims);

  checkpoint::DecoderInfo info_;
  ModelFacts facts_;
  Session session_;
  std::vector<Cache> caches_;
  std::vector<std::string> integers_;  // inputs that the graph has besides the caches
  std::vector<Input> inputs_;          // of a run
  std::vector<int32_t> table_;         // of a run, widened
  std::unique_ptr<SourceReader> reader_;
  std::vector<int32_t> source_starts_, source_table_;  // of a run
  std::vector<float> states_;                          // of its new sources
};

}  // namespace lathe::llm
