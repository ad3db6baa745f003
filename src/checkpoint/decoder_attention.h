// The attention of a decoder layer: projections in whatever order a family packs them, norms and rotation of queries
// and keys, attention over the paged cache.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/layers.h"

namespace lathe::checkpoint {

// Cosines and sines of the tokens of a step, [tokens, 1, pairs], or [tokens, 1, 2, pairs] where halves of heads turn by
// different positions.
struct Rotation {
  Value* cos = nullptr;
  Value* sin = nullptr;
};

// What all layers share; null where the family has no such thing.
struct AttentionInputs {
  Value* sequence_starts = nullptr;
  Value* context_lengths = nullptr;
  Value* block_table = nullptr;
  Value* prefix_lengths = nullptr;
  Value* slopes = nullptr;
  Value* temperature = nullptr;  // of the queries of unrotated layers, [tokens, 1, 1]
  Rotation rotation;
  Rotation local_rotation;  // of layers with a window, where theirs differs
  int64_t block_size = 0;
};

// Slopes of ALiBi (arXiv 2108.12409): powers of 2^(-8 / n) for n heads; for other counts than powers of two, those of
// the next lower one, then every second of the next higher one.
std::vector<float> alibi_slopes(int64_t heads);

class DecoderAttention {
 public:
  DecoderAttention(const Layers& layers, const ModelConfig& config, const AttentionInputs& inputs)
      : layers_(layers), config_(config), inputs_(inputs) {}

  // x [tokens, hidden] -> [tokens, hidden]. `prefix` is that of the layer's names.
  Value* build(Value* x, const std::string& prefix, int64_t layer, Value* key_cache, Value* value_cache) const;

 private:
  // Feature d of head h is column offset + h * stride + d.
  struct Heads {
    Value* value = nullptr;
    int64_t offset = 0, stride = 0;
  };
  struct Projected {
    Heads q, k, v;
  };

  Projected project(Value* x, const std::string& prefix) const;
  Projected from_latent(Value* x, const std::string& prefix, const Rotation& rotation) const;
  Projected turned(Projected heads, const std::string& prefix, const Rotation& rotation) const;
  Projected turned_together(const Projected& heads, const Rotation& rotation) const;
  Value* separated(const Heads& heads, int64_t count) const;
  Value* normed(Value* heads, const std::string& name, int64_t count) const;
  Value* rotated(Value* heads, const Rotation& rotation) const;
  Value* joined(Value* heads) const;
  Value* limited(Value* x) const;

  Graph& graph() const { return layers_.graph(); }

  const Layers& layers_;
  const ModelConfig& config_;
  const AttentionInputs& inputs_;
};

}  // namespace lathe::checkpoint
