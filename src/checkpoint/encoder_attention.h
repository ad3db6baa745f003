// Attention of encoders: every token sees all that are no padding, or those near it; scores know positions by rotation,
// by a number for each distance, or by products with embeddings of distances (arXiv 2006.03654).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "checkpoint/encoder_families.h"
#include "checkpoint/layers.h"
#include "graph/ops/attention.h"

namespace lathe::checkpoint {

class EncoderAttention {
 public:
  // `mask` [batch, 1, 1, sequence] is 0 for padding.
  EncoderAttention(const Layers& layers, Weights& weights, const EncoderConfig& config, Value* mask)
      : layers_(layers),
        weights_(weights),
        config_(config),
        model_(config.model),
        mask_(mask),
        batch_(mask->shape()[0]),
        sequence_(mask->shape()[3]) {}

  // `layer` is the prefix of the names of the layer with this number. x and result are [batch, sequence, hidden].
  Value* build(Value* x, const std::string& layer, int64_t number);

 private:
  // Heads that stand in the columns of a value from `offset` on.
  struct Heads {
    Value* value;
    int64_t offset = 0;
  };
  struct Projected {
    Heads q, k, v;
  };
  Graph& graph() const { return layers_.graph(); }
  Value* linear(Value* x, const std::string& name, int64_t columns, bool bias) const;
  Projected project(Value* x, const std::string& layer) const;
  Projected taken_apart(Value* all, const std::string& layer) const;
  Projected turned(Projected heads, bool local);
  Value* rotated(const Heads& heads, int64_t count, bool local);
  // What is added to scores, [batch or 1, heads, queries, keys], or null.
  Value* score_terms(const Projected& heads, const std::string& layer);
  Value* biases_by_distance();
  Value* disentangled(const Projected& heads, const std::string& layer);
  Value* positions_projected(const std::string& layer, bool by_key);
  Value* chosen_by_distance(Value* scores, int owner_axis);
  void add_score(Attention& op, std::vector<Value*>& operands, Value* terms, int64_t window) const;

  const Layers& layers_;
  Weights& weights_;
  const EncoderConfig& config_;
  const ModelConfig& model_;
  Value* mask_;
  Dim batch_, sequence_;
  // What layers share, made when the first asks.
  std::pair<Value*, Value*> rotation_[2]{};  // cosines and sines of global and local layers
  Value* biases_ = nullptr;
  Value* distances_ = nullptr;  // embeddings of relative positions
  Value* rows_ = nullptr;       // of these, i64 [queries, keys]
};

}  // namespace lathe::checkpoint
