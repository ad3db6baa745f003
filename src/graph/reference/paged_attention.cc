// Attention over a paged cache.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "graph/paged_cache.h"
#include "graph/paged_step.h"
#include "graph/reference/families.h"
#include "graph/reference/indexing.h"
#include "graph/reference/softmax.h"

namespace lathe::reference {
namespace {

PagedStep read_step(const PagedAttention& op, const Call& call) {
  const Tensor &keys = call.tensor(3), &table = call.tensor(7);
  PagedStep step;
  step.tokens = call.tensor(0).dims().at(0);
  step.blocks = keys.dims().at(0);
  step.block_size = op.block_size;
  step.table_width = table.dims().at(1);
  step.starts = call.tensor(5).as<int32_t>();
  step.contexts = call.tensor(6).as<int32_t>();
  step.table = table.as<int32_t>();
  if (call.has(8)) step.prefixes = call.tensor(8).as<int32_t>();
  if (call.has(11)) {
    step.key_starts = call.tensor(11).as<int32_t>();
    step.keys = call.tensor(1).dims().at(0);
  }
  if (step.starts.size() != step.contexts.size() + 1 || table.dims()[0] != step.sequences() ||
      (step.is_cross() && step.key_starts.size() != step.starts.size()))
    fail(ErrorCode::invalid_argument, "{} starts, {} context lengths and a block table of shape {} do not agree",
         step.starts.size(), step.contexts.size(), to_string(table.dims()));
  check(step);
  return step;
}

// A cache and the shape of its heads.
struct Cache {
  Tensor tensor;
  int64_t kv_heads;
  CacheRows rows;

  Cache(const Tensor& cache, int64_t heads, int64_t features, int64_t block_size)
      : tensor(cache), kv_heads(heads), rows{cache.dtype(), features, block_size} {}

  std::vector<double> read(const PagedStep& step, int64_t s, int64_t j, int64_t head) const {
    const int64_t of_head = step.block(s, j) * kv_heads + head, slot = j % step.block_size;
    const int64_t first = rows.row(of_head, slot) * rows.features / rows.row_bytes();
    float scale = 1;
    if (rows.scaled()) std::memcpy(&scale, tensor.bytes().data() + rows.scale(of_head, slot), sizeof scale);
    std::vector<double> row;
    for (int64_t d = 0; d < rows.features; ++d) row.push_back(tensor.read_double(first + d) * scale);
    return row;
  }
  void write(const PagedStep& step, int64_t s, int64_t j, int64_t head, const std::vector<double>& row) {
    const int64_t of_head = step.block(s, j) * kv_heads + head, slot = j % step.block_size;
    const int64_t first = rows.row(of_head, slot) * rows.features / rows.row_bytes();
    float scale = 1;
    if (rows.scaled()) {
      scale = scale_of(row);
      std::memcpy(tensor.mutable_bytes().data() + rows.scale(of_head, slot), &scale, sizeof scale);
    }
    for (int64_t d = 0; d < rows.features; ++d) {
      const double x = row[static_cast<size_t>(d)];
      if (rows.type == DType::i8)
        tensor.write_int(first + d, std::isnan(scale) ? 0 : std::lrint(static_cast<float>(x) / scale));
      else
        tensor.write_double(first + d, rows.scaled() ? static_cast<float>(x) / scale : x);
    }
  }
  // The new rows of every sequence: columns offset + head * stride + feature of `x`.
  void take(const PagedStep& step, const Tensor& x, int64_t offset, int64_t stride) {
    for (int64_t s = 0; s < step.sequences(); ++s)
      for (int64_t i = 0; i < step.new_keys(s); ++i)
        for (int64_t h = 0; h < kv_heads; ++h) {
          std::vector<double> row;
          for (int64_t d = 0; d < rows.features; ++d)
            row.push_back(x.read_double((step.key_start(s) + i) * x.dims()[1] + offset + h * stride + d));
          write(step, s, step.first_new_key(s) + i, h, row);
        }
  }

 private:
  float scale_of(const std::vector<double>& row) const {
    float largest = 0;
    for (const double x : row) {
      if (!std::isfinite(x)) return std::numeric_limits<float>::quiet_NaN();
      largest = std::max(largest, static_cast<float>(std::abs(x)));
    }
    return std::max(largest / rows.largest(), std::numeric_limits<float>::min());
  }
};

// One query head of one token.
class Row {
 public:
  Row(const PagedAttention& op, const PagedStep& step, const Cache& keys, const Cache& values, const Call& call)
      : op_(op),
        step_(step),
        keys_(keys),
        values_(values),
        slopes_(call.optional_tensor(9)),
        biases_(call.optional_tensor(10)),
        sinks_(call.optional_tensor(12)) {}

  // `query`: the element of q at which the head begins; `to`: value_dim numbers.
  void attend(const Tensor& q, int64_t query, int64_t s, int64_t j, int64_t head, double* to) const {
    const int64_t kv_head = head / (op_.heads / op_.kv_heads);
    const int64_t first = step_.first_key(j, op_.window, op_.chunked), end = step_.end_key(s, j);
    std::vector<double> scores;
    for (int64_t key = first; key < end; ++key) {
      double sum = 0;
      const std::vector<double> row = keys_.read(step_, s, key, kv_head);
      for (int64_t d = 0; d < op_.head_dim; ++d) sum += q.read_double(query + d) * row[static_cast<size_t>(d)];
      scores.push_back(score(sum, head, j, key));
    }
    if (sinks_ != nullptr) scores.push_back(sinks_->read_double(head));
    softmax_row(scores, /*log=*/false, /*safe=*/true);
    for (int64_t key = first; key < end; ++key) {
      const std::vector<double> row = values_.read(step_, s, key, kv_head);
      for (int64_t d = 0; d < op_.value_dim; ++d)
        to[d] += scores[static_cast<size_t>(key - first)] * row[static_cast<size_t>(d)];
    }
  }

 private:
  double score(double product, int64_t head, int64_t j, int64_t key) const {
    double x = op_.scale * product;
    if (op_.softcap > 0) x = op_.softcap * std::tanh(x / op_.softcap);
    if (slopes_ != nullptr) x += slopes_->read_double(head) * static_cast<double>(key);
    if (biases_ == nullptr) return x;
    const int64_t distances = biases_->dims()[1];
    return x + biases_->read_double(head * distances + std::clamp<int64_t>(j - key, 0, distances - 1));
  }

  const PagedAttention& op_;
  const PagedStep& step_;
  const Cache &keys_, &values_;
  const Tensor *slopes_, *biases_, *sinks_;
};

}  // namespace

std::vector<RefValue> evaluate(const PagedAttention& op, const Call& call) {
  const Tensor& q = call.tensor(0);
  const PagedStep step = read_step(op, call);
  Cache keys(call.tensor(3), op.kv_heads, op.head_dim, op.block_size);
  Cache values(call.tensor(4), op.kv_heads, op.value_dim, op.block_size);
  keys.take(step, call.tensor(1), op.k_offset, op.k_stride);
  values.take(step, call.tensor(2), op.v_offset, op.v_stride);

  const Row row(op, step, keys, values, call);
  std::vector<double> y(static_cast<size_t>(step.tokens * op.heads * op.value_dim), 0);
  for (int64_t s = 0; s < step.sequences(); ++s)
    for (int64_t t = step.start(s); t < step.start(s + 1); ++t)
      for (int64_t h = 0; h < op.heads; ++h)
        row.attend(q, t * q.dims()[1] + op.q_offset + h * op.q_stride, s, step.first_new(s) + t - step.start(s), h,
                   y.data() + (t * op.heads + h) * op.value_dim);
  Tensor result = write_wide(q.dtype(), {step.tokens, op.heads * op.value_dim}, y);
  return {std::move(result), std::move(keys.tensor), std::move(values.tensor)};
}

}  // namespace lathe::reference
