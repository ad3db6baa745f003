#include "backends/cpu/kernels/copy.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "backends/cpu/kernels/transpose_kernels.h"
#include "base/error.h"

namespace lathe::cpu {
namespace {

// Below this a fork costs more than it saves.
constexpr int64_t kParallelBytes = 64 * 1024;

struct Axis {
  int64_t size, from, to;  // strides in elements
};

struct Box {
  int64_t element_bytes = 0;
  int rank = 0;
  std::array<Axis, kMaxCopyAxes> axes = {};
  const Axis& inner() const { return axes[static_cast<size_t>(rank - 1)]; }
};

bool continues(const Axis& outer, const Axis& inner) {
  return outer.from == inner.from * inner.size && outer.to == inner.to * inner.size;
}

// Drops axes of size one and merges neighbours; always leaves at least one axis.
Box merged(const NdCopy& copy) {
  Box box;
  box.element_bytes = copy.element_bytes;
  for (size_t a = 0; a < copy.dims.size(); ++a) {
    const Axis axis = {copy.dims[a], copy.from_strides[a], copy.to_strides[a]};
    if (axis.size == 1) continue;
    if (box.rank > 0 && continues(box.inner(), axis)) {
      Axis& last = box.axes[static_cast<size_t>(box.rank - 1)];
      last = {last.size * axis.size, axis.from, axis.to};
      continue;
    }
    if (box.rank == kMaxCopyAxes) fail(ErrorCode::unsupported, "a copy with more than {} axes", kMaxCopyAxes);
    box.axes[static_cast<size_t>(box.rank++)] = axis;
  }
  if (box.rank == 0) box.axes[static_cast<size_t>(box.rank++)] = {1, 1, 1};
  return box;
}

// Calls visit(offset in from, offset in to) for every index of all axes but those that `skipped` names.
template <class Visit>
void for_each_index(const Box& box, std::array<int, 2> skipped, Visit visit) {
  std::array<int64_t, kMaxCopyAxes> index = {};
  int64_t from = 0, to = 0;
  while (true) {
    visit(from, to);
    int a = box.rank - 1;
    for (; a >= 0; --a) {
      if (a == skipped[0] || a == skipped[1]) continue;
      const auto at = static_cast<size_t>(a);
      const Axis& axis = box.axes[at];
      from += axis.from;
      to += axis.to;
      if (++index[at] < axis.size) break;
      from -= axis.from * axis.size;
      to -= axis.to * axis.size;
      index[at] = 0;
    }
    if (a < 0) return;
  }
}

template <int kBytes>
struct Element {
  std::byte bytes[kBytes];
};

template <int kBytes>
void copy_elements(const Axis& axis, const void* from, void* to) {
  const auto* source = static_cast<const Element<kBytes>*>(from);
  auto* result = static_cast<Element<kBytes>*>(to);
  if (axis.from == 0 && axis.to == 1) {
    std::fill_n(result, axis.size, *source);
    return;
  }
  for (int64_t i = 0; i < axis.size; ++i) result[i * axis.to] = source[i * axis.from];
}

void copy_axis(int64_t element_bytes, const Axis& axis, const void* from, void* to) {
  switch (element_bytes) {
    case 1: return copy_elements<1>(axis, from, to);
    case 2: return copy_elements<2>(axis, from, to);
    case 4: return copy_elements<4>(axis, from, to);
    case 8: return copy_elements<8>(axis, from, to);
    default: return copy_elements<16>(axis, from, to);
  }
}

TransposeKernel transpose_kernel(const TransposeKernels& kernels, int64_t element_bytes) {
  switch (element_bytes) {
    case 1: return kernels.bytes1;
    case 2: return kernels.bytes2;
    case 4: return kernels.bytes4;
    case 8: return kernels.bytes8;
    default: return nullptr;
  }
}

// The axis along which neighbours in `from` lie when it is not the innermost one; -1 when there is none.
int source_axis(const Box& box) {
  for (int a = 0; a < box.rank - 1; ++a) {
    if (box.axes[static_cast<size_t>(a)].from == 1) return a;
  }
  return -1;
}

void copy_box(const KernelTable& kernels, const Box& box, const std::byte* from, std::byte* to) {
  const int64_t bytes = box.element_bytes;
  const Axis inner = box.inner();
  const int last = box.rank - 1;
  if (inner.from == 1 && inner.to == 1) {
    const auto run = static_cast<size_t>(inner.size * bytes);
    for_each_index(box, {last, -1}, [&](int64_t f, int64_t t) { std::memcpy(to + t * bytes, from + f * bytes, run); });
    return;
  }
  const int rows = inner.to == 1 && inner.from > 0 ? source_axis(box) : -1;
  const TransposeKernel kernel = transpose_kernel(kernels.transpose, bytes);
  if (rows >= 0 && kernel != nullptr) {
    const Axis& row_axis = box.axes[static_cast<size_t>(rows)];
    for_each_index(box, {last, rows}, [&](int64_t f, int64_t t) {
      kernel(from + f * bytes, inner.from, to + t * bytes, row_axis.to, row_axis.size, inner.size);
    });
    return;
  }
  for_each_index(box, {last, -1},
                 [&](int64_t f, int64_t t) { copy_axis(bytes, inner, from + f * bytes, to + t * bytes); });
}

// The axis that threads share: the outermost that gives each at least four pieces, else the longest.
size_t axis_to_split(const Box& box, int threads) {
  size_t longest = 0;
  for (size_t a = 0; a < static_cast<size_t>(box.rank); ++a) {
    if (box.axes[a].size >= 4 * threads) return a;
    if (box.axes[a].size > box.axes[longest].size) longest = a;
  }
  return longest;
}

void dense_strides(std::span<const int64_t> dims, int64_t* strides) {
  int64_t stride = 1;
  for (size_t a = dims.size(); a-- > 0;) {
    strides[a] = stride;
    stride *= dims[a];
  }
}

void check_rank(size_t rank) {
  if (rank > kMaxCopyAxes)
    fail(ErrorCode::unsupported, "a tensor of rank {}, at most {} supported", rank, kMaxCopyAxes);
}

}  // namespace

void nd_copy(ThreadTeam& team, const KernelTable& kernels, const NdCopy& copy, const void* from, void* to) {
  LATHE_CHECK(copy.dims.size() == copy.from_strides.size() && copy.dims.size() == copy.to_strides.size());
  const int64_t bytes = copy.element_bytes;
  if (bytes <= 0 || bytes > 16 || (bytes & (bytes - 1)) != 0) {
    fail(ErrorCode::unsupported, "copying elements of {} bytes", bytes);
  }
  int64_t count = 1;
  for (int64_t size : copy.dims) count *= size;
  if (count == 0) return;
  const Box box = merged(copy);
  const auto* source = static_cast<const std::byte*>(from);
  auto* result = static_cast<std::byte*>(to);
  if (team.size() == 1 || count * bytes < kParallelBytes) return copy_box(kernels, box, source, result);
  const size_t split = axis_to_split(box, team.size());
  team.parallel_for(box.axes[split].size, [&](int64_t begin, int64_t end, int) {
    Box part = box;
    part.axes[split].size = end - begin;
    copy_box(kernels, part, source + begin * box.axes[split].from * bytes, result + begin * box.axes[split].to * bytes);
  });
}

void transpose(ThreadTeam& team, const KernelTable& kernels, int64_t element_bytes, std::span<const int64_t> dims,
               std::span<const int64_t> permutation, const void* from, void* to) {
  LATHE_CHECK(dims.size() == permutation.size());
  check_rank(dims.size());
  std::array<int64_t, kMaxCopyAxes> source, to_dims, from_strides, to_strides;
  dense_strides(dims, source.data());
  for (size_t a = 0; a < dims.size(); ++a) {
    to_dims[a] = dims[static_cast<size_t>(permutation[a])];
    from_strides[a] = source[static_cast<size_t>(permutation[a])];
  }
  const size_t rank = dims.size();
  dense_strides({to_dims.data(), rank}, to_strides.data());
  nd_copy(team, kernels,
          {element_bytes, {to_dims.data(), rank}, {from_strides.data(), rank}, {to_strides.data(), rank}}, from, to);
}

void nchw_to_nhwc(ThreadTeam& team, const KernelTable& kernels, int64_t batch, int64_t channels, int64_t pixels,
                  const float* from, float* to, int64_t stride) {
  const std::array<int64_t, 3> dims = {batch, pixels, channels};
  const std::array<int64_t, 3> from_strides = {channels * pixels, 1, pixels}, to_strides = {pixels * stride, stride, 1};
  nd_copy(team, kernels, {sizeof(float), dims, from_strides, to_strides}, from, to);
}

void nhwc_to_nchw(ThreadTeam& team, const KernelTable& kernels, int64_t batch, int64_t channels, int64_t pixels,
                  const float* from, int64_t stride, float* to) {
  const std::array<int64_t, 3> dims = {batch, channels, pixels};
  const std::array<int64_t, 3> from_strides = {pixels * stride, 1, stride}, to_strides = {channels * pixels, pixels, 1};
  nd_copy(team, kernels, {sizeof(float), dims, from_strides, to_strides}, from, to);
}

void fill(ThreadTeam& team, int64_t element_bytes, const void* value, int64_t count, void* to) {
  const auto part = [&](int64_t begin, int64_t end, int) {
    copy_axis(element_bytes, {end - begin, 0, 1}, value, static_cast<std::byte*>(to) + begin * element_bytes);
  };
  if (count * element_bytes < kParallelBytes) {
    part(0, count, 0);
  } else {
    team.parallel_for(count, part);
  }
}

}  // namespace lathe::cpu
