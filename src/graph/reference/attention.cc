// Attention and rotary position embedding.
#include <limits>

#include "graph/reference/families.h"
#include "graph/reference/indexing.h"
#include "graph/reference/map.h"
#include "graph/reference/softmax.h"

namespace lathe::reference {
namespace {

// Where (batch, token, head, feature) lies in an operand or in the result.
struct HeadView {
  int64_t batch = 0, tokens = 0;
  int64_t base = 0, batch_stride = 0, token_stride = 0, head_stride = 0, feature_stride = 1;

  int64_t offset(int64_t b, int64_t token, int64_t head) const {
    return base + b * batch_stride + token * token_stride + head * head_stride;
  }
};

struct HeadSpec {
  HeadOrder order;
  int64_t offset, stride, heads, features;
};

HeadView view_heads(const Sizes& dims, const HeadSpec& spec) {
  const auto refuse = [&] {
    fail(ErrorCode::invalid_argument, "shape {} does not hold {} heads of {} features", to_string(dims), spec.heads,
         spec.features);
  };
  if (spec.order == HeadOrder::head_major || spec.order == HeadOrder::transposed) {
    const bool transposed = spec.order == HeadOrder::transposed;
    if (dims.size() != 4 || dims[1] != spec.heads || dims[transposed ? 2 : 3] != spec.features) refuse();
    const int64_t tokens = dims[transposed ? 3 : 2], plane = spec.features * tokens;
    return {dims[0], tokens, 0, spec.heads * plane, transposed ? 1 : spec.features, plane, transposed ? tokens : 1};
  }
  if (dims.size() != 3 || spec.offset < 0 || spec.stride < 0 ||
      spec.offset + (spec.heads - 1) * spec.stride + spec.features > dims[2])
    refuse();
  if (spec.order == HeadOrder::token_major)
    return {dims[0], dims[1], spec.offset, dims[1] * dims[2], dims[2], spec.stride, 1};
  return {dims[1], dims[0], spec.offset, dims[2], dims[1] * dims[2], spec.stride, 1};
}

Sizes output_dims(const Attention& op, int64_t batch, int64_t tokens) {
  switch (op.output_order) {
    case HeadOrder::token_major: return {batch, tokens, op.heads * op.value_dim};
    case HeadOrder::seq_major: return {tokens, batch, op.heads * op.value_dim};
    case HeadOrder::head_major: return {batch, op.heads, tokens, op.value_dim};
    case HeadOrder::transposed: break;
  }
  return {batch, op.heads, op.value_dim, tokens};
}

// scale * q.k for [batch, heads, queries, keys].
std::vector<double> scaled_products(const Attention& op, const Tensor& q, const HeadView& qs, const Tensor& k,
                                    const HeadView& ks) {
  const std::vector<double> queries = read_wide<double>(q), keys = read_wide<double>(k);
  std::vector<double> products;
  products.reserve(static_cast<size_t>(qs.batch * op.heads * qs.tokens * ks.tokens));
  for (int64_t b = 0; b < qs.batch; ++b) {
    for (int64_t h = 0; h < op.heads; ++h) {
      for (int64_t i = 0; i < qs.tokens; ++i) {
        const double* query = queries.data() + qs.offset(b, i, h);
        for (int64_t j = 0; j < ks.tokens; ++j) {
          const double* key = keys.data() + ks.offset(b, j, h / (op.heads / op.kv_heads));
          double sum = 0;
          for (int64_t d = 0; d < op.head_dim; ++d) sum += query[d * qs.feature_stride] * key[d * ks.feature_stride];
          products.push_back(op.scale * sum);
        }
      }
    }
  }
  return products;
}

// The score program sees the products in the type that it declares for them.
std::vector<double> apply_score(const Attention& op, std::vector<double> products, DType type, const Sizes& space,
                                const Call& call) {
  if (op.score.empty()) return products;
  for (const MapInstr& instr : op.score.code())
    if (instr.op == MapOp::input && instr.args[0] == 0) type = instr.type;
  const Tensor product = write_wide(type, space, products);
  std::vector<const Tensor*> inputs = call.tensors_from(first_extra(op));
  inputs.insert(inputs.begin(), &product);
  return read_wide<double>(run_program(op.score, inputs, space, call.symbols));
}

// The sequence of each token.
std::vector<int64_t> sequences_of(const Tensor& starts, int64_t tokens, int64_t longest) {
  const std::span<const int32_t> bounds = starts.as<int32_t>();
  std::vector<int64_t> sequences;
  for (size_t s = 0; s + 1 < bounds.size(); ++s) {
    const int64_t length = int64_t{bounds[s + 1]} - bounds[s];
    if (bounds[s] != static_cast<int64_t>(sequences.size()) || length < 0 || length > longest) break;
    sequences.insert(sequences.end(), static_cast<size_t>(length), static_cast<int64_t>(s));
  }
  if (bounds.empty() || bounds.back() != tokens || static_cast<int64_t>(sequences.size()) != tokens)
    fail(ErrorCode::invalid_argument, "the starts of sequences of at most {} tokens do not divide {} tokens", longest,
         tokens);
  return sequences;
}

void check_heads(const HeadView& q, const HeadView& k, const HeadView& v) {
  if (q.batch != k.batch || k.batch != v.batch || k.tokens != v.tokens)
    fail(ErrorCode::invalid_argument, "batches {}, {}, {} or {} keys and {} values do not agree", q.batch, k.batch,
         v.batch, k.tokens, v.tokens);
}

}  // namespace

std::vector<RefValue> evaluate(const Attention& op, const Call& call) {
  if (op.kv_heads < 1 || op.heads % op.kv_heads != 0)
    fail(ErrorCode::invalid_model, "{} query heads cannot share {} key heads", op.heads, op.kv_heads);
  const Tensor &q = call.tensor(0), &k = call.tensor(1), &v = call.tensor(2);
  const HeadView qs = view_heads(q.dims(), {op.q_order, op.q_offset, op.q_stride, op.heads, op.head_dim});
  const HeadView ks = view_heads(k.dims(), {op.k_order, op.k_offset, op.k_stride, op.kv_heads, op.head_dim});
  const HeadView vs = view_heads(v.dims(), {op.v_order, op.v_offset, op.v_stride, op.kv_heads, op.value_dim});
  check_heads(qs, ks, vs);
  const Sizes space{qs.batch, op.heads, qs.tokens, ks.tokens};
  std::vector<double> scores = apply_score(op, scaled_products(op, q, qs, k, ks), q.dtype(), space, call);

  Sizes dims = output_dims(op, qs.batch, qs.tokens);
  const HeadView ys = view_heads(dims, {op.output_order, 0, op.value_dim, op.heads, op.value_dim});
  const int64_t causal_offset = op.causal ? call.symbols.evaluate(op.causal_offset) : 0;
  std::vector<int64_t> sequences(static_cast<size_t>(qs.tokens), 0);  // that do not see each other
  if (op.packed) sequences = sequences_of(call.tensor(3), qs.tokens, call.symbols.evaluate(op.longest));
  const std::vector<double> values = read_wide<double>(v);
  std::vector<double> y(static_cast<size_t>(product_of(dims)), 0);
  double* row = scores.data();
  for (int64_t line = 0; line < qs.batch * op.heads * qs.tokens; ++line, row += ks.tokens) {
    const int64_t i = line % qs.tokens, h = line / qs.tokens % op.heads, b = line / qs.tokens / op.heads;
    for (int64_t j = 0; op.causal && j < ks.tokens; ++j)
      if (j > i + causal_offset) row[j] = -std::numeric_limits<double>::infinity();
    for (int64_t j = 0; op.packed && j < ks.tokens; ++j)
      if (sequences[static_cast<size_t>(i)] != sequences[static_cast<size_t>(j)])
        row[j] = -std::numeric_limits<double>::infinity();
    softmax_row({row, static_cast<size_t>(ks.tokens)}, /*log=*/false, /*safe=*/true);
    double* to = y.data() + ys.offset(b, i, h);
    for (int64_t j = 0; j < ks.tokens; ++j) {
      const double* value = values.data() + vs.offset(b, j, h / (op.heads / op.kv_heads));
      for (int64_t d = 0; d < op.value_dim; ++d) to[d * ys.feature_stride] += row[j] * value[d * vs.feature_stride];
    }
  }
  return {write_wide(q.dtype(), std::move(dims), y)};
}

std::vector<RefValue> evaluate(const Rotary& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  const int64_t half = op.rotary_dim / 2, width = x.rank() == 0 ? 0 : x.dims().back();
  if (op.rotary_dim < 0 || op.rotary_dim % 2 != 0 || op.rotary_dim > width)
    fail(ErrorCode::invalid_model, "{} of the features of shape {} cannot be rotated", op.rotary_dim,
         to_string(x.dims()));
  Sizes angles = x.dims();
  angles.back() = half;
  const std::vector<double> cosines = read_broadcast(call.tensor(1), angles),
                            sines = read_broadcast(call.tensor(2), angles);
  std::vector<double> values = read_wide<double>(x);
  for (size_t i = 0; i < cosines.size(); ++i) {
    const auto pair = static_cast<int64_t>(i);
    double* row = values.data() + pair / half * width;
    const int64_t d = pair % half;
    double &a = row[op.interleaved ? 2 * d : d], &b = row[op.interleaved ? 2 * d + 1 : d + half];
    const double rotated = a * cosines[i] - b * sines[i];
    b = b * cosines[i] + a * sines[i];
    a = rotated;
  }
  return {write_wide(x.dtype(), x.dims(), values)};
}

}  // namespace lathe::reference
