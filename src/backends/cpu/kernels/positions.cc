#include "backends/cpu/kernels/positions.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::cpu {
namespace {

int64_t product(std::span<const int64_t> sizes) {
  int64_t n = 1;
  for (const int64_t size : sizes) n *= size;
  return n;
}

int64_t from_start(int64_t index, int64_t size) { return index < 0 ? index + size : index; }
bool in_range(int64_t index, int64_t size) { return static_cast<uint64_t>(index) < static_cast<uint64_t>(size); }

}  // namespace

Positions Positions::of_elements(std::span<const int64_t> dims, size_t axis, std::span<const int64_t> index_dims) {
  LATHE_CHECK(axis < dims.size());
  if (index_dims.size() != dims.size())
    fail(ErrorCode::invalid_argument, "indices of rank {} for data of rank {}", index_dims.size(), dims.size());
  Positions result;
  result.count_ = product(index_dims);
  for (size_t a = 0; a < axis && index_dims[a] == dims[a]; ++a) result.parts_ *= dims[a];
  int64_t stride = 1;
  std::vector<Axis> innermost_first;
  for (size_t a = dims.size(); a-- > 0; stride *= dims[a]) {
    if (a != axis && index_dims[a] > dims[a])
      fail(ErrorCode::invalid_argument, "{} indices along axis {}, where the data has {} elements", index_dims[a], a,
           dims[a]);
    if (a == axis) result.indexed_ = {{dims[a], stride}};
    const Axis next{index_dims[a], a == axis ? 0 : stride};
    if (next.size == 1) continue;
    const bool merges =
        !innermost_first.empty() && next.stride == innermost_first.back().stride * innermost_first.back().size;
    if (merges)
      innermost_first.back().size *= next.size;
    else
      innermost_first.push_back(next);
  }
  if (innermost_first.empty()) innermost_first.push_back({1, 0});
  result.walk_.assign(innermost_first.rbegin(), innermost_first.rend());
  return result;
}

Positions Positions::of_slices(std::span<const int64_t> dims, size_t batch_dims, std::span<const int64_t> index_dims) {
  const auto depth = index_dims.empty() ? int64_t{-1} : index_dims.back();
  if (depth < 0 || batch_dims >= index_dims.size() || batch_dims > dims.size() ||
      depth > static_cast<int64_t>(dims.size() - batch_dims))
    fail(ErrorCode::invalid_argument, "rows of {} indices do not fit data of rank {} with {} batch axes", depth,
         dims.size(), batch_dims);
  for (size_t a = 0; a < batch_dims; ++a)
    if (dims[a] != index_dims[a])
      fail(ErrorCode::invalid_argument, "the data has {} batches along axis {}, the indices {}", dims[a], a,
           index_dims[a]);
  const size_t first_kept = batch_dims + static_cast<size_t>(depth);
  Positions result;
  result.rows_ = true;
  result.count_ = product(index_dims.first(index_dims.size() - 1));
  result.per_batch_ = product(index_dims.subspan(batch_dims, index_dims.size() - 1 - batch_dims));
  result.batch_stride_ = product(dims.subspan(batch_dims));
  result.slice_elements_ = product(dims.subspan(first_kept));
  for (size_t a = batch_dims; a < first_kept; ++a) result.indexed_.push_back({dims[a], product(dims.subspan(a + 1))});
  return result;
}

template <class Index>
int64_t Positions::resolve_elements(const Index* indices, int64_t begin, int64_t end, int64_t* out) const {
  const Axis inner = walk_.back(), indexed = indexed_[0];
  for (int64_t i = begin; i < end;) {
    int64_t row = i / inner.size, start = 0;
    const int64_t column = i % inner.size, row_end = std::min(end, i - column + inner.size);
    for (size_t a = walk_.size() - 1; a-- > 0; row /= walk_[a].size) start += row % walk_[a].size * walk_[a].stride;
    start += column * inner.stride;
    bool wrong = false;
    for (int64_t j = i; j < row_end; ++j, start += inner.stride) {
      const int64_t index = from_start(indices[j], indexed.size);
      const bool inside = in_range(index, indexed.size);
      wrong |= !inside;
      *out++ = start + (inside ? index : 0) * indexed.stride;
    }
    if (wrong) {
      while (in_range(from_start(indices[i], indexed.size), indexed.size)) ++i;
      return i;
    }
    i = row_end;
  }
  return -1;
}

template <class Index>
int64_t Positions::resolve_slices(const Index* indices, int64_t begin, int64_t end, int64_t* out) const {
  const auto depth = static_cast<int64_t>(indexed_.size());
  for (int64_t row = begin; row < end; ++row) {
    int64_t start = row / per_batch_ * batch_stride_;
    for (int64_t i = 0; i < depth; ++i) {
      const Axis& axis = indexed_[static_cast<size_t>(i)];
      const int64_t index = from_start(indices[row * depth + i], axis.size);
      if (!in_range(index, axis.size)) return row * depth + i;
      start += index * axis.stride;
    }
    *out++ = start;
  }
  return -1;
}

int64_t Positions::resolve(const IndexTensor& indices, int64_t begin, int64_t end, int64_t* out) const {
  const auto with = [&](const auto* data) {
    return rows_ ? resolve_slices(data, begin, end, out) : resolve_elements(data, begin, end, out);
  };
  return indices.is_i64 ? with(static_cast<const int64_t*>(indices.data))
                        : with(static_cast<const int32_t*>(indices.data));
}

}  // namespace lathe::cpu
