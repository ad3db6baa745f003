// What both sides of an encoder-decoder are made of: embeddings with their positions, branches around which states are
// carried, projections of attention.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "checkpoint/layers.h"
#include "checkpoint/seq2seq.h"
#include "checkpoint/seq2seq_families.h"

namespace lathe::checkpoint {

class Seq2SeqSide {
 public:
  // `config` is that of the side; `all` must outlive the side.
  Seq2SeqSide(const Checkpoint& checkpoint, const Seq2SeqConfig& all, const ModelConfig& config, DType compute);

  // What the checkpoint holds and this side does not use.
  std::vector<std::string> unused() const { return weights_.unused(config_.names.buffers); }

 protected:
  Graph& graph() const { return *graph_; }
  std::string layer_prefix(int64_t layer) const;
  Value* add(Value* a, Value* b) const;

  // The embeddings of ids that stand at these positions.
  Value* embed(Value* ids, Value* positions);
  Value* with_positions(Value* x, Value* positions);
  std::string embedding_name() const;
  // x and a branch of it, f: normalised before or after, as the family has it.
  template <class Branch>
  Value* join(Value* x, const std::string& norm, const Branch& f) const {
    const auto normed = [&](Value* of) { return layers_.norm(of, norm, config_.hidden); };
    if (config_.traits.residual == Residual::sequential) return add(x, f(normed(x)));
    return normed(add(x, f(x)));
  }
  Value* final_norm(Value* x) const;
  // Columns of all heads.
  Value* heads(Value* x, const std::string& name, bool bias) const;
  Value* from_heads(Value* y, const std::string& name) const;
  // What relative positions add to scores, f32 [distances, heads]: row i is for the key at offsets[i] from the query.
  // Null where the family has no such thing.
  Value* relative_biases(int64_t layer, const RelativeBuckets& buckets, const std::vector<int64_t>& offsets);

  const Seq2SeqConfig& all_;
  const Seq2SeqFamily& family_;
  const ModelConfig& config_;
  std::unique_ptr<Graph> graph_;
  Weights weights_;
  Layers layers_;
};

// max_positions 0: what the config says.
SourceEncoder build_encoder_side(const Checkpoint& checkpoint, const Seq2SeqConfig& config, DType compute,
                                 int64_t max_positions, std::vector<std::string>* unused = nullptr);
Decoder build_decoder_side(const Checkpoint& checkpoint, const Seq2SeqConfig& config, const DecoderOptions& options);

}  // namespace lathe::checkpoint
