#include "checkpoint/decoder_attention.h"

#include <cmath>
#include <utility>

#include "graph/build.h"

namespace lathe::checkpoint {

std::vector<float> alibi_slopes(int64_t heads) {
  std::vector<float> slopes;
  int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  const double step = 8 / static_cast<double>(power);
  for (int64_t i = 1; i <= power; ++i) slopes.push_back(static_cast<float>(std::exp2(-step * static_cast<double>(i))));
  for (int64_t i = 1; i <= 2 * (heads - power); i += 2)
    slopes.push_back(static_cast<float>(std::exp2(-step / 2 * static_cast<double>(i))));
  return slopes;
}

Value* DecoderAttention::build(Value* x, const std::string& prefix, int64_t layer, Value* key_cache,
                               Value* value_cache) const {
  const auto index = static_cast<size_t>(layer);
  const bool local = config_.windows[index] > 0 && inputs_.local_rotation.cos != nullptr;
  const bool unrotated = !config_.unrotated.empty() && config_.unrotated[index];
  const Rotation rotation = unrotated ? Rotation{} : local ? inputs_.local_rotation : inputs_.rotation;
  const Projected heads = config_.traits.packing == QkvPacking::latent ? from_latent(x, prefix, rotation)
                                                                       : turned(project(x, prefix), prefix, rotation);
  Value* sinks =
      config_.names.sinks.empty() ? nullptr : layers_.f32(prefix + std::string(config_.names.sinks), {config_.heads});
  PagedAttention op;
  op.heads = config_.heads;
  op.kv_heads = config_.kv_heads;
  op.head_dim = config_.head_dim;
  op.value_dim = config_.value_dim;
  op.block_size = inputs_.block_size;
  op.scale = config_.attention_scale * (config_.layer_scales.empty() ? 1 : config_.layer_scales[index]);
  op.window = config_.windows[index];
  op.chunked = config_.chunked && op.window > 0;
  op.softcap = config_.attention_softcap;
  op.q_offset = heads.q.offset;
  op.q_stride = heads.q.stride;
  op.k_offset = heads.k.offset;
  op.k_stride = heads.k.stride;
  op.v_offset = heads.v.offset;
  op.v_stride = heads.v.stride;
  Value* y = graph().emit(
      op,
      {heads.q.value, heads.k.value, heads.v.value, key_cache, value_cache, inputs_.sequence_starts,
       inputs_.context_lengths, inputs_.block_table, inputs_.prefix_lengths, inputs_.slopes, nullptr, nullptr, sinks},
      prefix + "attention");
  const Names& names = config_.names;
  const int64_t width = config_.heads * config_.value_dim;
  if (!names.attention_gate.empty()) {
    Value* gate = layers_.linear(x, prefix + std::string(names.attention_gate), config_.hidden, width, false);
    y = map2(graph(), MapOp::mul, y, map1(graph(), MapOp::sigmoid, gate));
  }
  if (!names.attention_norm.empty()) y = layers_.norm(y, prefix + std::string(names.attention_norm), width);
  return layers_.linear(y, prefix + std::string(names.attention_out), width, config_.hidden,
                        config_.traits.biases.attention_out);
}

DecoderAttention::Projected DecoderAttention::project(Value* x, const std::string& prefix) const {
  const Names& names = config_.names;
  const int64_t d = config_.head_dim, q = config_.heads * d, kv = config_.kv_heads * d;
  const auto linear = [&](std::string_view name, int64_t columns) {
    Value* y = layers_.linear(x, prefix + std::string(name), config_.hidden, columns, config_.traits.biases.qkv);
    return config_.traits.qk_norm == QkNorm::none ? limited(y) : y;  // norms come before limits
  };
  switch (config_.traits.packing) {
    case QkvPacking::separate:
      return {{linear(names.q, q), 0, d}, {linear(names.k, kv), 0, d}, {linear(names.v, kv), 0, d}};
    case QkvPacking::stacked: {
      Value* all = linear(names.qkv, q + 2 * kv);
      return {{all, 0, d}, {all, q, d}, {all, q + kv, d}};
    }
    case QkvPacking::per_head: {
      Value* all = linear(names.qkv, 3 * q);
      return {{all, 0, 3 * d}, {all, d, 3 * d}, {all, 2 * d, 3 * d}};
    }
    case QkvPacking::quarters: {
      const Dim tokens = x->shape()[0];
      Value* quarters = reshape(graph(), linear(names.qkv, 3 * q), {tokens, 4, 3 * q / 4});
      const auto part = [&](int64_t index) {
        return reshape(graph(), slice_axis(graph(), quarters, 2, index * q / 4, q / 4), {tokens, q});
      };
      return {{part(0), 0, d}, {part(2), 0, d}, {part(1), 0, d}};
    }
    case QkvPacking::latent:
    case QkvPacking::per_group: break;
  }
  const int64_t shared = q / kv, group = (shared + 2) * d;
  Value* all = linear(names.qkv, q + 2 * kv);
  Value* groups = reshape(graph(), all, {x->shape()[0], config_.kv_heads, group});
  Value* queries = slice_axis(graph(), groups, 2, 0, shared * d);
  return {{reshape(graph(), queries, {x->shape()[0], q}), 0, d}, {all, shared * d, group}, {all, group - d, group}};
}

DecoderAttention::Projected DecoderAttention::turned(Projected heads, const std::string& prefix,
                                                     const Rotation& rotation) const {
  const bool turns = rotation.cos != nullptr;
  const bool norms = config_.traits.qk_norm == QkNorm::unit ? turns : config_.traits.qk_norm != QkNorm::none;
  if (inputs_.temperature != nullptr && (!turns || config_.temperature.everywhere)) {
    Value* q = map2(graph(), MapOp::mul, separated(heads.q, config_.heads), inputs_.temperature);
    heads.q = {joined(q), 0, config_.head_dim};
  }
  if (!norms && !turns) return heads;
  if (!norms && heads.q.value == heads.k.value) return turned_together(heads, rotation);
  const auto turn = [&](const Heads& part, int64_t count, std::string_view norm_name) {
    Value* y = separated(part, count);
    const bool last = config_.traits.norm_after_rotation;
    if (norms && !last) y = limited(normed(y, prefix + std::string(norm_name), count));
    y = rotated(y, rotation);
    if (norms && last) y = limited(normed(y, prefix + std::string(norm_name), count));
    return Heads{joined(y), 0, config_.head_dim};
  };
  if (norms) heads.v.value = limited(heads.v.value);
  heads.q = turn(heads.q, config_.heads, config_.names.q_norm);
  heads.k = turn(heads.k, config_.kv_heads, config_.names.k_norm);
  return heads;
}

// Queries and keys that stand side by side in one product turn as one.
DecoderAttention::Projected DecoderAttention::turned_together(const Projected& heads, const Rotation& rotation) const {
  const int64_t d = config_.head_dim;
  const bool per_head = config_.traits.packing == QkvPacking::per_head;
  const Heads both{heads.q.value, 0, per_head ? 3 * d : d};
  if (!per_head) {
    Value* y = joined(rotated(separated(both, config_.heads + config_.kv_heads), rotation));
    return {{y, 0, d}, {y, config_.heads * d, d}, heads.v};
  }
  const Dim tokens = both.value->shape()[0];
  Value* pairs = slice_axis(graph(), reshape(graph(), both.value, {tokens, config_.heads, 3 * d}), 2, 0, 2 * d);
  Value* y = joined(rotated(reshape(graph(), pairs, {tokens, 2 * config_.heads, d}), rotation));
  return {{y, 0, 2 * d}, {y, d, 2 * d}, heads.v};
}

// [tokens, count, head_dim] of heads that stand somewhere in wider rows.
Value* DecoderAttention::separated(const Heads& heads, int64_t count) const {
  const Dim tokens = heads.value->shape()[0];
  const int64_t d = config_.head_dim;
  if (heads.stride == d) {
    Value* columns = slice_axis(graph(), heads.value, 1, heads.offset, count * d);
    return reshape(graph(), columns, {tokens, count, d});
  }
  return slice_axis(graph(), reshape(graph(), heads.value, {tokens, count, heads.stride}), 2, heads.offset, d);
}

Value* DecoderAttention::normed(Value* heads, const std::string& name, int64_t count) const {
  const int64_t d = config_.head_dim;
  switch (config_.traits.qk_norm) {
    case QkNorm::none: return heads;
    case QkNorm::head: return layers_.norm(heads, name, d);
    case QkNorm::unit: return graph().emit(Norm{config_.traits.norm, 2, config_.epsilon, 1, {}}, {heads}, name);
    case QkNorm::each_head: return layers_.norm_each(heads, name, count, d);
    case QkNorm::all: break;
  }
  const Shape shape = heads->shape();
  return reshape(graph(), layers_.norm(joined(heads), name, count * d), shape);
}

Value* DecoderAttention::rotated(Value* heads, const Rotation& rotation) const {
  if (rotation.cos == nullptr) return heads;
  const Rotary op{config_.rope.dim, config_.traits.interleaved};
  if (config_.traits.positions != Positions::rotary_2d) return graph().emit(op, {heads, rotation.cos, rotation.sin});
  const Shape shape = heads->shape();
  Value* halves = reshape(graph(), heads, {shape[0], shape[1], 2, config_.head_dim / 2});
  return reshape(graph(), graph().emit(op, {halves, rotation.cos, rotation.sin}), shape);
}

Value* DecoderAttention::limited(Value* x) const {
  if (config_.qkv_limit == 0) return x;
  const auto bound = [&](double value) { return scalar(graph(), value, x->dtype()); };
  return map2(graph(), MapOp::min, map2(graph(), MapOp::max, x, bound(-config_.qkv_limit)), bound(config_.qkv_limit));
}

Value* DecoderAttention::joined(Value* heads) const {
  const Shape& shape = heads->shape();
  return reshape(graph(), heads, {shape[0], shape[1] * shape[2]});
}

}  // namespace lathe::checkpoint
