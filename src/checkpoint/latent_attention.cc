// Multi-head latent attention: queries, keys and values come out of projections of low rank, and are expanded to whole
// heads before they are cached. The cache is as large as without it, but the attention is the one of all families.
#include "checkpoint/decoder_attention.h"
#include "graph/build.h"

namespace lathe::checkpoint {
namespace {

constexpr double kEpsilon = 1e-6;  // of the norms inside, whatever config.json says

}  // namespace

DecoderAttention::Projected DecoderAttention::from_latent(Value* x, const std::string& prefix,
                                                          const Rotation& rotation) const {
  const Names& names = config_.names;
  const LatentAttention& latent = config_.latent;
  const Dim tokens = x->shape()[0];
  const int64_t heads = config_.heads, turning = config_.rope.dim, still = config_.head_dim - turning;
  const bool bias = config_.traits.biases.qkv;
  const auto linear = [&](Value* of, std::string_view name, int64_t in, int64_t out, bool with_bias) {
    return layers_.linear(of, prefix + std::string(name), in, out, with_bias);
  };
  const auto norm = [&](Value* of, std::string_view name, int64_t size) {
    return layers_.norm(of, prefix + std::string(name), size, kEpsilon);
  };
  const auto part = [&](Value* of, int64_t axis, int64_t from, int64_t size) {
    return slice_axis(graph(), of, axis, from, size);
  };

  Value* q = nullptr;
  if (latent.q_rank == 0) {
    q = linear(x, names.q, config_.hidden, heads * config_.head_dim, false);
  } else {
    Value* low = norm(linear(x, names.q_down, config_.hidden, latent.q_rank, bias), names.q_down_norm, latent.q_rank);
    q = linear(low, names.q_up, latent.q_rank, heads * config_.head_dim, false);
  }
  q = reshape(graph(), q, {tokens, heads, config_.head_dim});
  q = concat(graph(), {part(q, 2, 0, still), rotated(part(q, 2, still, turning), rotation)}, 2);

  Value* low = linear(x, names.kv_down, config_.hidden, latent.kv_rank + turning, bias);
  Value* shared = reshape(graph(), part(low, 1, latent.kv_rank, turning), {tokens, 1, turning});
  shared = broadcast_to(graph(), rotated(shared, rotation), {tokens, heads, turning});
  const int64_t width = still + config_.value_dim;
  Value* kv = linear(norm(part(low, 1, 0, latent.kv_rank), names.kv_down_norm, latent.kv_rank), names.kv_up,
                     latent.kv_rank, heads * width, false);
  Value* k = part(reshape(graph(), kv, {tokens, heads, width}), 2, 0, still);
  k = concat(graph(), {k, shared}, 2);
  return {{joined(q), 0, config_.head_dim}, {joined(k), 0, config_.head_dim}, {kv, still, width}};
}

}  // namespace lathe::checkpoint
