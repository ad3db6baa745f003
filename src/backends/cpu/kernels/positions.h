// Where index tensors point: flat positions of elements or slices in a dense tensor, checked against its sizes. What
// GatherElements, GatherNd and their scatters have in common.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

namespace lathe::cpu {

struct IndexTensor {
  const void* data;
  bool is_i64;  // else i32

  int64_t at(int64_t i) const {
    return is_i64 ? static_cast<const int64_t*>(data)[i] : static_cast<const int32_t*>(data)[i];
  }
};

// Made once per set of sizes; resolve() is the hot path. Index i < 0 means i + size of its axis.
class Positions {
 public:
  // One index per element: index tensor element [i, j, k] points to [i, index, k] for axis 1. Throws
  // Error(invalid_argument) when the index tensor is larger than the data along another axis.
  static Positions of_elements(std::span<const int64_t> dims, size_t axis, std::span<const int64_t> index_dims);
  // One row of indices per slice: after `batch_dims` axes that both tensors share, row r points to data[r0, r1, ..].
  // Throws Error(invalid_argument) when the sizes do not fit.
  static Positions of_slices(std::span<const int64_t> dims, size_t batch_dims, std::span<const int64_t> index_dims);

  int64_t count() const { return count_; }
  int64_t slice_elements() const { return slice_elements_; }
  // Data and slices fall into so many equal parts, each part of the slices lying in its part of the data.
  int64_t parts() const { return parts_; }

  // Writes where slices [begin, end) start to out. Returns -1, or which element of the index tensor is out of range.
  int64_t resolve(const IndexTensor& indices, int64_t begin, int64_t end, int64_t* out) const;

 private:
  template <class Index>
  int64_t resolve_elements(const Index* indices, int64_t begin, int64_t end, int64_t* out) const;
  template <class Index>
  int64_t resolve_slices(const Index* indices, int64_t begin, int64_t end, int64_t* out) const;

  struct Axis {
    int64_t size, stride;
  };
  std::vector<Axis> walk_;     // elements: axes of the index tensor, merged; stride 0 along the axis that is indexed
  std::vector<Axis> indexed_;  // axes of the data that indices address
  int64_t count_ = 0, slice_elements_ = 1, parts_ = 1;
  int64_t per_batch_ = 1, batch_stride_ = 0;  // slices: rows of indices per batch, elements of the data per batch
  bool rows_ = false;
};

// Slices that are resolved at a time; their positions stay in the first-level cache.
inline constexpr int64_t kPositionBlock = 512;

// The first index out of range, whichever thread finds one.
class FirstWrong {
 public:
  void report(int64_t position) {
    int64_t seen = position_.load(std::memory_order_relaxed);
    while (position < seen && !position_.compare_exchange_weak(seen, position, std::memory_order_relaxed)) {
    }
  }
  int64_t result() const {
    const int64_t position = position_.load(std::memory_order_relaxed);
    return position == INT64_MAX ? -1 : position;
  }

 private:
  std::atomic<int64_t> position_{INT64_MAX};
};

}  // namespace lathe::cpu
