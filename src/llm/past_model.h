// An ONNX decoder as its exporter made it: it takes the keys and values of all earlier tokens and gives them back with
// those of the new tokens behind. What it is given is what it gave in the run before, where that left it
// (past_cache.h): a block of the cache is a whole sequence, two buffers for each tensor that take turns, or one where
// tokens only ever get appended.
//
// Sequences of a step that have as many tokens behind them, and bring as many, run side by side where the file leaves
// the size of a batch open; others one after the other, since not all decoders can be told what is padding. With
// uniform_rows each runs alone.
//
// Behind an encoder, what a source gives is kept as long as requests look at it (past_sources.h). Sources are padded
// where the decoder takes a mask for them.
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
#include "llm/past_cache.h"
#include "llm/past_sources.h"

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
  // Whether sequences may run side by side.
  bool batches() const { return batches_; }
  const checkpoint::DecoderInfo& info() const { return info_; }
  // Of weights that were laid out anew, in both halves.
  size_t weight_bytes() const;

 private:
  struct Half {
    OnnxPorts ports;
    Session session;
  };
  // Of a decoder that takes no past: the tokens of a sequence.
  struct History {
    std::vector<int32_t> ids, positions, block_positions;
  };
  // New tokens of one sequence.
  struct Piece {
    BlockId block = 0;
    int64_t past = 0, prefix = 0;
    std::span<const int32_t> ids, positions, block_positions;
    std::vector<int64_t> rows;              // whose logits are wanted
    size_t first_row = 0;                   // of them, in the logits of the step
    PastSources::Source* source = nullptr;  // of a model with an encoder

    int64_t count() const { return static_cast<int64_t>(ids.size()); }
    Piece token(int64_t index) const;
  };
  // Of sequences that run side by side.
  using Pieces = std::vector<Piece>;
  // Of an input.
  struct Values {
    std::vector<int64_t> dims, elements;
  };

  std::optional<Half> make_half(std::unique_ptr<Graph> graph, const Half* twin, const GraphModelOptions& options) const;
  void check_halves(bool has_encoder) const;
  void choose_sizes(const GraphModelOptions& options);
  void choose_source_sizes(const GraphModelOptions& options);
  void choose_batching(const GraphModelOptions& options);
  DeviceContext& device();
  std::span<const OnnxPorts::Pair> pairs() const;
  std::vector<Pieces> pieces_of(const StepBatch& batch);
  bool run_together(const Piece& a, const Piece& b) const;
  void compute(Pieces pieces);
  void compute_all(Pieces pieces);
  void run_half(Half& half, const Pieces& pieces);
  static Values values_of(OnnxPorts::Role role, const Pieces& pieces, const PastSources::Batch* sources);
  std::vector<Input> bind_past(Half& half, const PastCache::Batch& past);
  void bind_kept(Half& half, const PastSources::Batch& sources, std::vector<Input>& inputs);
  void take_logits(const Half& half, const Output& output, const Pieces& pieces);

  checkpoint::DecoderInfo info_;
  ModelFacts facts_;
  std::optional<Half> first_, next_;
  bool batches_ = false, pads_sources_ = false;
  std::optional<PastCache> cache_;      // none where there is no past
  std::vector<History> histories_;      // by block, where there is none
  std::optional<PastSources> sources_;  // of a model with an encoder
  std::vector<float> logits_;
};

}  // namespace lathe::llm
