#include "checkpoint/encoder_attention.h"

#include <limits>

#include "graph/build.h"

namespace lathe::checkpoint {

Value* EncoderAttention::build(Value* x, const std::string& layer, int64_t number) {
  const int64_t window = model_.windows[static_cast<size_t>(number)], d = model_.head_dim;
  const Projected heads = turned(project(x, layer), window > 0 && model_.local_rope_base.has_value());
  Attention op;
  op.heads = model_.heads;
  op.kv_heads = model_.kv_heads;
  op.head_dim = op.value_dim = op.q_stride = op.k_stride = op.v_stride = d;
  op.q_offset = heads.q.offset;
  op.k_offset = heads.k.offset;
  op.v_offset = heads.v.offset;
  op.scale = model_.attention_scale;
  std::vector<Value*> operands = {heads.q.value, heads.k.value, heads.v.value};
  add_score(op, operands, score_terms(heads, layer), window);
  Value* y = graph().emit(op, operands, layer + "attention");
  return layers_.linear(y, layer + std::string(model_.names.attention_out), model_.heads * d, model_.hidden,
                        model_.traits.biases.attention_out);
}

Value* EncoderAttention::linear(Value* x, const std::string& name, int64_t columns, bool bias) const {
  return layers_.linear(x, name, model_.hidden, columns, bias);
}

EncoderAttention::Projected EncoderAttention::project(Value* x, const std::string& layer) const {
  const Names& names = model_.names;
  const int64_t q = model_.heads * model_.head_dim, kv = model_.kv_heads * model_.head_dim;
  const auto part = [&](std::string_view name, int64_t columns) {
    return linear(x, layer + std::string(name), columns, model_.traits.biases.qkv);
  };
  if (model_.traits.packing == QkvPacking::separate)
    return {{part(names.q, q)}, {part(names.k, kv)}, {part(names.v, kv)}};
  if (model_.traits.packing == QkvPacking::per_head)
    return taken_apart(linear(x, layer + std::string(names.qkv), 3 * q, false), layer);
  Value* all = part(names.qkv, q + 2 * kv);
  return {{all, 0}, {all, q}, {all, q + kv}};
}

// Of each head its query, key and value; queries and values have biases of their own.
EncoderAttention::Projected EncoderAttention::taken_apart(Value* all, const std::string& layer) const {
  const int64_t d = model_.head_dim, columns = model_.heads * d;
  Value* heads = reshape(graph(), all, {batch_, sequence_, model_.heads, 3 * d});
  const auto part = [&](int64_t index, std::string_view bias) {
    Value* y = reshape(graph(), slice_axis(graph(), heads, 3, index * d, d), {batch_, sequence_, columns});
    return Heads{bias.empty() ? y : map2(graph(), MapOp::add, y, weights_.vector(layer + std::string(bias), columns))};
  };
  return {part(0, config_.family->query_bias), part(1, {}), part(2, config_.family->value_bias)};
}

EncoderAttention::Projected EncoderAttention::turned(Projected heads, bool local) {
  if (model_.traits.positions != Positions::rotary) return heads;
  if (heads.q.value == heads.k.value) {  // side by side, they turn as one
    Value* both = rotated(heads.q, model_.heads + model_.kv_heads, local);
    return {{both, 0}, {both, model_.heads * model_.head_dim}, heads.v};
  }
  return {{rotated(heads.q, model_.heads, local)}, {rotated(heads.k, model_.kv_heads, local)}, heads.v};
}

Value* EncoderAttention::rotated(const Heads& heads, int64_t count, bool local) {
  const int64_t columns = count * model_.head_dim;
  auto& [cos, sin] = rotation_[local ? 1 : 0];
  if (cos == nullptr) {
    Rope rope = model_.rope;
    if (local) {
      rope.scaling = RopeScaling::none;
      rope.magnitude = 1;
      rope.base = *model_.local_rope_base;
    }
    const RotaryTables tables = rotary_tables(inverse_frequencies(rope, false), rope.magnitude, model_.max_positions);
    const auto first = [&](const Tensor& table) {
      return reshape(graph(), slice_axis(graph(), constant(graph(), table), 0, 0, sequence_),
                     {1, sequence_, 1, rope.dim / 2});
    };
    cos = first(tables.cos);
    sin = first(tables.sin);
  }
  Value* part = slice_axis(graph(), heads.value, 2, heads.offset, columns);
  part = reshape(graph(), part, {batch_, sequence_, count, model_.head_dim});
  part = graph().emit(Rotary{model_.rope.dim, model_.traits.interleaved}, {part, cos, sin});
  return reshape(graph(), part, {batch_, sequence_, columns});
}

Value* EncoderAttention::score_terms(const Projected& heads, const std::string& layer) {
  if (!config_.family->relative_biases.empty()) return biases_by_distance();
  const EncoderConfig::Disentangled& terms = config_.disentangled;
  return terms.by_key || terms.by_query ? disentangled(heads, layer) : nullptr;
}

Value* EncoderAttention::biases_by_distance() {
  if (biases_ != nullptr) return biases_;
  const RelativeBuckets& buckets = config_.buckets;
  const int64_t reach = buckets.max_distance;
  std::vector<int64_t> rows;
  for (int64_t offset = -reach; offset <= reach; ++offset) rows.push_back(buckets.bucket(offset));
  Value* numbers = constant(graph(), Tensor::of<int64_t>({2 * reach + 1}, std::span<const int64_t>(rows)));
  const std::string name = weights_.under_root(config_.family->relative_biases);
  Value* table = weights_.f32(name + ".weight", {buckets.buckets, model_.heads});
  Value* biases = by_distance(graph(), graph().emit(Gather{0}, {table, numbers}, name), sequence_, reach);
  biases = reshape(graph(), transpose(graph(), biases, {2, 0, 1}), {1, model_.heads, sequence_, sequence_});
  return biases_ = cast(graph(), biases, weights_.compute());
}

// Products of what a token is with where the other stands: of queries with the keys of positions, of keys with their
// queries. Each product is made for every distance, and then those are picked that queries and keys have.
Value* EncoderAttention::disentangled(const Projected& heads, const std::string& layer) {
  const auto by_head = [&](const Heads& of) {
    Value* y = reshape(graph(), of.value, {batch_, sequence_, model_.heads, model_.head_dim});
    return transpose(graph(), y, {0, 2, 1, 3});
  };
  Value* sum = nullptr;
  for (const bool by_key : {true, false}) {
    if (!(by_key ? config_.disentangled.by_key : config_.disentangled.by_query)) continue;
    Value* scores = matmul(graph(), by_head(by_key ? heads.q : heads.k), positions_projected(layer, by_key));
    Value* chosen = chosen_by_distance(scores, by_key ? -2 : -1);
    sum = sum == nullptr ? chosen : map2(graph(), MapOp::add, sum, chosen);
  }
  return layers_.scaled(sum, model_.attention_scale);
}

// [1, heads, head_dim, distances]
Value* EncoderAttention::positions_projected(const std::string& layer, bool by_key) {
  const DisentangledNames& names = config_.family->disentangled;
  const EncoderConfig::Disentangled& terms = config_.disentangled;
  const int64_t rows = 2 * terms.buckets.span();
  if (distances_ == nullptr) {
    distances_ = weights_.table(weights_.under_root(names.table) + ".weight", {rows, model_.hidden});
    distances_ = cast(graph(), distances_, weights_.compute());
    if (terms.normed) distances_ = layers_.norm(distances_, weights_.under_root(names.norm), model_.hidden);
  }
  const std::string_view own = by_key ? names.key : names.query;
  const std::string_view name = !terms.shared ? own : by_key ? model_.names.k : model_.names.q;
  const bool bias = terms.shared || !by_key || names.key_bias;
  Value* y = linear(distances_, layer + std::string(name), model_.heads * model_.head_dim, bias);
  return transpose(graph(), reshape(graph(), y, {1, rows, model_.heads, model_.head_dim}), {0, 2, 3, 1});
}

// Of scores [batch, heads, tokens, distances], whose tokens are the queries (axis -2) or the keys (-1) of the result.
// Both trailing axes are taken as one, so that a batch and its heads share the places of what is picked.
Value* EncoderAttention::chosen_by_distance(Value* scores, int owner_axis) {
  const LogBuckets& buckets = config_.disentangled.buckets;
  const int64_t reach = buckets.max_distance, distances = 2 * buckets.span();
  if (rows_ == nullptr) {
    std::vector<int64_t> rows;
    for (int64_t offset = -reach; offset <= reach; ++offset) rows.push_back(buckets.row(-offset));
    rows_ =
        by_distance(graph(), constant(graph(), Tensor::of<int64_t>({2 * reach + 1}, std::span<const int64_t>(rows))),
                    sequence_, reach);
  }
  MapProgram place;
  const int row = place.input(0, DType::i64);
  const int first = place.binary(MapOp::mul, place.iota(owner_axis), place.constant_int(distances, DType::i64));
  place.finish(place.binary(MapOp::add, first, row));
  Value* places = graph().emit(Map{place, {}}, {rows_});
  Value* flat = reshape(graph(), scores, {batch_ * model_.heads, sequence_ * distances});
  Value* chosen = graph().emit(Gather{1}, {flat, places});
  return reshape(graph(), chosen, {batch_, model_.heads, sequence_, sequence_});
}

void EncoderAttention::add_score(Attention& op, std::vector<Value*>& operands, Value* terms, int64_t window) const {
  const DType type = weights_.compute();
  int score = op.score.input(0, type), extras = 0;
  if (terms != nullptr) {
    operands.push_back(terms);
    score = op.score.binary(MapOp::add, score, op.score.input(++extras, type));
  }
  operands.push_back(mask_);
  const int mask = op.score.input(++extras, DType::i64);
  int visible = op.score.binary(MapOp::ne, mask, op.score.constant_int(0, DType::i64));
  if (window > 0) {
    const int distance = op.score.unary(MapOp::abs, op.score.binary(MapOp::sub, op.score.iota(-1), op.score.iota(-2)));
    const int near = op.score.binary(MapOp::le, distance, op.score.constant_int(window, DType::i64));
    visible = op.score.binary(MapOp::logical_and, visible, near);
  }
  op.score.finish(op.score.select(visible, score, op.score.constant(-std::numeric_limits<double>::infinity(), type)));
}

}  // namespace lathe::checkpoint
