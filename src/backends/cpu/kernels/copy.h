// All plain data movement: one copy between two strided boxes. Transpose, expand, slice (negative steps too), concat,
// split, tile and constant padding are its uses; the copy itself finds the fastest way: whole runs, filled runs,
// transposed squares, or single elements.
#pragma once

#include <cstdint>
#include <span>

#include "backends/cpu/kernels/kernel_table.h"
#include "base/thread_team.h"

namespace lathe::cpu {

// After merging axes that lie one behind the other, a copy has at most this many.
inline constexpr int kMaxCopyAxes = 16;

// to[sum i_a * to_strides[a]] = from[sum i_a * from_strides[a]] for every index below dims. Strides count elements and
// may be zero or negative in `from`; positions in `to` must differ from each other, and the two boxes must not overlap.
struct NdCopy {
  int64_t element_bytes;  // 1, 2, 4, 8 or 16
  std::span<const int64_t> dims, from_strides, to_strides;
};

// Throws Error(unsupported) when the merged rank or the element size is beyond the above.
void nd_copy(ThreadTeam& team, const KernelTable& kernels, const NdCopy& copy, const void* from, void* to);

// Dense tensors: to has dims[permutation[0]], dims[permutation[1]], ...
void transpose(ThreadTeam& team, const KernelTable& kernels, int64_t element_bytes, std::span<const int64_t> dims,
               std::span<const int64_t> permutation, const void* from, void* to);

// [batch, channels, pixels] <-> [batch, pixels, channels]; `stride` is that of a pixel in the channels-last tensor.
void nchw_to_nhwc(ThreadTeam& team, const KernelTable& kernels, int64_t batch, int64_t channels, int64_t pixels,
                  const float* from, float* to, int64_t stride);
void nhwc_to_nchw(ThreadTeam& team, const KernelTable& kernels, int64_t batch, int64_t channels, int64_t pixels,
                  const float* from, int64_t stride, float* to);

// `count` copies of one element.
void fill(ThreadTeam& team, int64_t element_bytes, const void* value, int64_t count, void* to);

enum class PadMode : uint8_t { constant, edge, reflect, wrap };

// Dense tensors: to has before[a] + dims[a] + after[a] along axis a; negative pads crop. `value` is used by constant
// mode. Throws Error(invalid_argument) when edge, reflect or wrap must invent values of an empty axis.
struct Pad {
  int64_t element_bytes;
  std::span<const int64_t> dims, before, after;
  PadMode mode = PadMode::constant;
  const void* value = nullptr;
};
void pad(ThreadTeam& team, const KernelTable& kernels, const Pad& pad, const void* from, void* to);

}  // namespace lathe::cpu
