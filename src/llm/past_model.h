// An ONNX decoder as its exporter made it: it takes the keys and values of all earlier tokens and gives them back with
// those of the new tokens behind. Each sequence runs alone. What it is given is what it gave in the run before, where
// that left it: a block of the cache is a whole sequence, two buffers for each tensor that take turns, or one where
// tokens only ever get appended.
//
// Behind an encoder, what a source gives is kept as long as requests look at it: its states, and the keys and values
// that the half which begins sequences makes of them.
//
// A decoder may come in two halves, one that begins sequences and one that continues them by a token. A decoder that
// takes no past computes its sequences anew in each step.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "llm/graph_model.h"
#include "llm/onnx_files.h"
#include "llm/onnx_ports.h"
#include "llm/source_reader.h"

namespace lathe::llm {

// At least one of them. Without `first`, `next` takes pasts of any length, none as well.
struct PastGraphs {
  std::unique_ptr<Graph> first, next;
};

// Reads them. A merged file is both, by its input use_cache_branch. Throws what import_model() throws.
PastGraphs import_onnx_decoder(const OnnxFiles& files);

// The encoder, and what its graph says of its inputs and states beyond `known`.
checkpoint::SourceEncoder import_onnx_encoder(const OnnxFiles& files, const checkpoint::SourceInfo& known);

class PastModel : public StepModel {
 public:
  // Throws what find_ports() throws, and Error(out_of_memory) as GraphModel does.
  PastModel(PastGraphs graphs, checkpoint::DecoderInfo info, const GraphModelOptions& options,
            std::optional<checkpoint::SourceEncoder> encoder = std::nullopt);
  ~PastModel() override;

  const ModelFacts& facts() const override { return facts_; }
  std::unique_ptr<Layout> layout(std::span<const int32_t> prompt) const override { return lay_out(info_, prompt); }
  const checkpoint::GenerationRules& rules() const override { return info_.rules; }
  std::span<const float> run(const StepBatch& batch) override;
  void copy_block(BlockId from, BlockId to) override;

  // The tokens that end texts.
  void use_eos(std::vector<int32_t> ids) { facts_.eos = std::move(ids); }
  void use_rules(checkpoint::GenerationRules rules) { info_.rules = std::move(rules); }
  // Pieces of a prompt would cost more than the whole.
  bool wants_whole_prompts() const { return first_.has_value(); }
  const checkpoint::DecoderInfo& info() const { return info_; }
  // Of weights that were laid out anew, in both halves.
  size_t weight_bytes() const;

 private:
  struct Half {
    OnnxPorts ports;
    Session session;
  };
  // The keys and values of one sequence; of a decoder without a past, its tokens.
  struct Block {
    struct Buffers {
      void* past = nullptr;     // what the last run left
      void* present = nullptr;  // where the next one writes; the same for what grows at its end
    };
    int64_t capacity = 0, length = 0;  // in tokens
    std::vector<Buffers> buffers;      // by pair
    std::vector<int32_t> ids, positions, block_positions;
  };
  // What is kept of a source.
  struct SourceState {
    std::vector<float> states;
    int64_t length = 0;
    std::vector<void*> kept;  // by OnnxPorts::kept of the half that continues sequences
  };
  // New tokens of one sequence.
  struct Piece {
    int64_t past = 0, prefix = 0;
    std::span<const int32_t> ids, positions, block_positions;
    std::vector<int64_t> rows;      // whose logits are wanted
    SourceState* source = nullptr;  // of a model with an encoder

    int64_t count() const { return static_cast<int64_t>(ids.size()); }
    Piece token(int64_t index) const;
  };

  std::optional<Half> make_half(std::unique_ptr<Graph> graph, const Half* twin, const GraphModelOptions& options) const;
  void check_halves() const;
  void choose_sizes(const GraphModelOptions& options);
  void choose_source_sizes(const GraphModelOptions& options);
  DeviceContext& device();
  std::span<const OnnxPorts::Pair> pairs() const;
  void reserve(Block& block, int64_t tokens);
  void release(Block& block);
  void release(SourceState& source);
  SourceState* source_of(const StepBatch& batch, int64_t sequence);
  void bind_kept(Half& half, const SourceState& source, std::vector<Input>& inputs);
  void compute(Block& block, const Piece& piece);
  void compute_all(Block& block, const Piece& piece);
  void run_half(Half& half, Block& block, const Piece& piece);
  void take_logits(const Half& half, const Output& output, const Piece& piece);

  checkpoint::DecoderInfo info_;
  ModelFacts facts_;
  std::optional<Half> first_, next_;
  std::optional<SourceReader> reader_;
  std::vector<Block> blocks_;
  std::vector<SourceState> sources_;  // by the first block of a source
  std::vector<float> logits_;
};

}  // namespace lathe::llm
