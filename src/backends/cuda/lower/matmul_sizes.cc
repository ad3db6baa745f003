#include "backends/cuda/lower/matmul_sizes.h"

namespace lathe::cuda {
namespace {

// One batch axis of the result: how far each operand moves along it (0: broadcast).
struct Level {
  int64_t count, a, b;
};

std::vector<Level> batch_levels(const StepIo& io, int64_t a_matrix, int64_t b_matrix) {
  const auto &a = io.inputs[0].dims, &b = io.inputs[1].dims, &y = io.outputs[0].dims;
  std::vector<Level> levels;  // innermost first
  for (size_t back = 3; back <= y.size(); ++back) {
    const int64_t count = y[y.size() - back];
    const int64_t a_count = back <= a.size() ? a[a.size() - back] : 1,
                  b_count = back <= b.size() ? b[b.size() - back] : 1;
    const Level level{count, a_count == 1 ? 0 : a_matrix, b_count == 1 ? 0 : b_matrix};
    a_matrix *= a_count;
    b_matrix *= b_count;
    if (count == 1) continue;
    Level* inner = levels.empty() ? nullptr : &levels.back();
    if (inner != nullptr && level.a == inner->a * inner->count && level.b == inner->b * inner->count)
      inner->count *= count;
    else
      levels.push_back(level);
  }
  return levels;
}

// Puts an axis around the offsets that there are.
void surround(std::vector<int64_t>& offsets, int64_t count, int64_t stride) {
  const std::vector<int64_t> inner = std::move(offsets);
  offsets.clear();
  for (int64_t i = 0; i < count; ++i)
    for (const int64_t offset : inner) offsets.push_back(offset + i * stride);
}

}  // namespace

MatmulSizes::MatmulSizes(const StepIo& io, bool trans_a, bool trans_b) {
  const auto &a = io.inputs[0].dims, &y = io.outputs[0].dims;
  m = y[y.size() - 2];
  n = y[y.size() - 1];
  k = a[a.size() - (trans_a ? 2 : 1)];
  lda = trans_a ? m : k;
  ldb = trans_b ? k : n;
  std::vector<Level> levels = batch_levels(io, m * k, k * n);
  // Rows of consecutive products that share b are rows of one product.
  if (!levels.empty() && !trans_a && levels[0].b == 0 && levels[0].a == m * k) {
    m *= levels[0].count;
    levels.erase(levels.begin());
  }
  if (!levels.empty()) {
    batches = levels[0].count;
    a_batch = levels[0].a;
    b_batch = levels[0].b;
  }
  for (size_t i = 1; i < levels.size(); ++i) {
    surround(a_offsets, levels[i].count, levels[i].a);
    surround(b_offsets, levels[i].count, levels[i].b);
  }
}

}  // namespace lathe::cuda
