// Operators on whole arrays: reinterpreted bits, determinants, distinct elements.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "graph/externs/table.h"
#include "graph/reference/indexing.h"

namespace lathe::externs {
namespace {

using reference::AxisSplit;
using reference::Call;
using reference::read_wide;
using reference::Sizes;
using reference::write_wide;

// --- bit_cast: (x) -> the same bits as elements of another type of the same width. integers = [element type]

Types infer_bit_cast(const Extern& op, InferContext& c) {
  c.expect_inputs(1, 1);
  expect_lists(op, c, 1, 0, 0);
  Type y = c.tensor(0);
  if (op.integers[0] < 0 || op.integers[0] >= kDTypeCount) c.fail("there is no element type {}", op.integers[0]);
  const auto to = static_cast<DType>(op.integers[0]);
  if (to == DType::string || y.dtype == DType::string || bit_width(to) != bit_width(y.dtype))
    c.fail("the bits of a {} cannot be read as a {}", to_string(y.dtype), to_string(to));
  y.dtype = to;
  return {y};
}

std::vector<RefValue> bit_cast(const Extern& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  Tensor y(static_cast<DType>(op.integers[0]), x.dims());
  std::copy(x.bytes().begin(), x.bytes().end(), y.mutable_bytes().begin());
  return {y};
}

// --- det: (x [.., n, n]) -> determinants [..]

Types infer_det(const Extern& op, InferContext& c) {
  c.expect_inputs(1, 1);
  expect_lists(op, c, 0, 0, 0);
  Type y = c.float_tensor(0);
  if (!y.ranked) return {y};
  if (y.rank() < 2) c.fail("a determinant needs matrices");
  c.same(y.shape[y.shape.size() - 2], y.shape.back(), "rows and columns");
  y.shape.resize(y.shape.size() - 2);
  return {y};
}

// By elimination with row pivots; destroys `a`.
double determinant(double* a, int64_t n) {
  double det = 1;
  for (int64_t k = 0; k < n; ++k) {
    int64_t pivot = k;
    for (int64_t row = k + 1; row < n; ++row)
      if (std::abs(a[row * n + k]) > std::abs(a[pivot * n + k])) pivot = row;
    if (a[pivot * n + k] == 0) return 0;
    if (pivot != k) {
      std::swap_ranges(a + k * n, a + (k + 1) * n, a + pivot * n);
      det = -det;
    }
    det *= a[k * n + k];
    for (int64_t row = k + 1; row < n; ++row) {
      const double factor = a[row * n + k] / a[k * n + k];
      for (int64_t column = k; column < n; ++column) a[row * n + column] -= factor * a[k * n + column];
    }
  }
  return det;
}

std::vector<RefValue> det(const Extern&, const Call& call) {
  const Tensor& x = call.tensor(0);
  Sizes sizes = x.dims();
  const int64_t n = sizes.back();
  if (sizes[sizes.size() - 2] != n)
    fail(ErrorCode::invalid_argument, "matrices of shape {} have no determinant", to_string(sizes));
  sizes.resize(sizes.size() - 2);
  std::vector<double> values = read_wide<double>(x), result;
  for (int64_t i = 0; i < element_count(sizes); ++i) result.push_back(determinant(values.data() + i * n * n, n));
  return {write_wide(x.dtype(), std::move(sizes), result)};
}

// --- unique: (x) -> (distinct, first positions, inverse, counts): the distinct elements, or slices along an axis; the
// others are i64 [distinct], [size], [distinct]. integers = [sorted, has axis, axis]

Types infer_unique(const Extern& op, InferContext& c) {
  c.expect_inputs(1, 1);
  c.expect_outputs(4);
  expect_lists(op, c, 3, 0, 0);
  const Type& x = c.tensor(0);
  const bool along_axis = op.integers[1] != 0;
  const Dim count = c.fresh();
  Type y = along_axis || !x.ranked ? x : Type::tensor(x.dtype, {count});
  Dim size = x.ranked ? product(x.shape) : c.fresh();
  if (along_axis && x.ranked) {
    const size_t axis = c.axis(op.integers[2], x.rank());
    size = x.shape[axis];
    y.shape[axis] = count;
  }
  Types types = {y, Type::tensor(DType::i64, {count}), Type::tensor(DType::i64, {size}),
                 Type::tensor(DType::i64, {count})};
  types.resize(c.num_outputs());
  return types;
}

struct Distinct {
  std::vector<int64_t> first, inverse, counts;
};

// Classes of slices under `less`, in its order or in that of their first members.
template <class Less>
Distinct distinct_slices(int64_t size, bool sorted, Less&& less) {
  std::vector<int64_t> order(static_cast<size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), less);
  Distinct d;
  d.inverse.resize(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    if (i == 0 || less(order[i - 1], order[i])) {
      d.first.push_back(order[i]);
      d.counts.push_back(0);
    }
    ++d.counts.back();
    d.inverse[static_cast<size_t>(order[i])] = static_cast<int64_t>(d.first.size()) - 1;
  }
  if (sorted) return d;
  std::vector<size_t> by_place(d.first.size());
  std::iota(by_place.begin(), by_place.end(), 0);
  std::sort(by_place.begin(), by_place.end(), [&](size_t a, size_t b) { return d.first[a] < d.first[b]; });
  Distinct placed;
  placed.inverse.resize(d.inverse.size());
  std::vector<int64_t> rank(by_place.size());
  for (size_t i = 0; i < by_place.size(); ++i) {
    rank[by_place[i]] = static_cast<int64_t>(i);
    placed.first.push_back(d.first[by_place[i]]);
    placed.counts.push_back(d.counts[by_place[i]]);
  }
  for (size_t i = 0; i < d.inverse.size(); ++i) placed.inverse[i] = rank[static_cast<size_t>(d.inverse[i])];
  return placed;
}

// NaN stands behind all numbers and equals itself.
template <class W>
int compare(const W& a, const W& b) {
  if (a < b) return -1;
  if (b < a) return 1;
  if constexpr (std::is_floating_point_v<W>) return (std::isnan(a) ? 1 : 0) - (std::isnan(b) ? 1 : 0);
  return 0;
}

template <class W>
Distinct distinct_of(std::span<const W> values, const AxisSplit& split, bool sorted) {
  return distinct_slices(split.size, sorted, [&](int64_t a, int64_t b) {
    for (int64_t outer = 0; outer < split.outer; ++outer) {
      for (int64_t inner = 0; inner < split.inner; ++inner) {
        const auto at = [&](int64_t i) -> const W& {
          return values[static_cast<size_t>((outer * split.size + i) * split.inner + inner)];
        };
        if (const int order = compare(at(a), at(b)); order != 0) return order < 0;
      }
    }
    return false;
  });
}

std::vector<RefValue> unique(const Extern& op, const Call& call) {
  const bool along_axis = op.integers[1] != 0;
  const Tensor x = along_axis ? call.tensor(0) : call.tensor(0).reshaped({call.tensor(0).elements()});
  const size_t axis = along_axis ? reference::resolve_axis(op.integers[2], x.rank()) : 0;
  const AxisSplit split(x.dims(), axis);
  const bool sorted = op.integers[0] != 0;
  const Distinct d = x.dtype() == DType::string ? distinct_of<std::string>(x.strings(), split, sorted)
                                                : reference::visit_wide(x.dtype(), [&]<class W>() {
                                                    const std::vector<W> values = read_wide<W>(x);
                                                    return distinct_of<W>(values, split, sorted);
                                                  });
  const auto count = static_cast<int64_t>(d.first.size());
  Sizes sizes = x.dims();
  sizes[axis] = count;
  std::vector<int64_t> source;
  for (int64_t outer = 0; outer < split.outer; ++outer)
    for (const int64_t i : d.first)
      for (int64_t inner = 0; inner < split.inner; ++inner)
        source.push_back((outer * split.size + i) * split.inner + inner);
  std::vector<RefValue> results = {reference::pick(x, sizes, source), write_wide(DType::i64, {count}, d.first),
                                   write_wide(DType::i64, {split.size}, d.inverse),
                                   write_wide(DType::i64, {count}, d.counts)};
  results.resize(call.num_outputs);
  return results;
}

constexpr Row kRows[] = {
    {"bit_cast", infer_bit_cast, bit_cast},
    {"det", infer_det, det},
    {"unique", infer_unique, unique},
};

}  // namespace

std::span<const Row> array_rows() { return kRows; }

}  // namespace lathe::externs
