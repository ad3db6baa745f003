// Padding by repeating, mirroring or wrapping: every axis is cut into stretches in which the source index moves by a
// fixed step, and every combination of stretches is one strided copy.
#include <algorithm>
#include <array>

#include "backends/cpu/kernels/copy.h"
#include "base/error.h"

namespace lathe::cpu {
namespace {

// Output positions [begin, begin + size) of an axis read source, source + step, source + 2 step, ...
struct Stretch {
  int64_t begin, size, source, step;
};

int64_t floor_mod(int64_t a, int64_t b) { return (a % b + b) % b; }

// The source of output position `at`, relative to the first unpadded position, and the direction in which it moves.
Stretch source_of(PadMode mode, int64_t size, int64_t at) {
  if (at >= 0 && at < size) return {0, 0, at, 1};
  if (mode == PadMode::edge) return {0, 0, at < 0 ? 0 : size - 1, 0};
  if (mode == PadMode::wrap) return {0, 0, floor_mod(at, size), 1};
  if (size == 1) return {0, 0, 0, 0};
  const int64_t period = 2 * (size - 1), phase = floor_mod(at, period);
  return phase < size - 1 ? Stretch{0, 0, phase, 1} : Stretch{0, 0, period - phase, -1};
}

// The longest stretch that starts at output position `begin`.
Stretch stretch_at(PadMode mode, int64_t size, int64_t before, int64_t out_size, int64_t begin) {
  Stretch stretch = source_of(mode, size, begin - before);
  stretch.begin = begin;
  stretch.size = 1;
  while (begin + stretch.size < out_size) {
    const Stretch next = source_of(mode, size, begin + stretch.size - before);
    if (next.source != stretch.source + stretch.size * stretch.step) break;
    ++stretch.size;
  }
  return stretch;
}

// Strides and sizes of both tensors, and the stretches chosen so far.
struct PadWalk {
  ThreadTeam& team;
  const KernelTable& kernels;
  const Pad& pad;
  std::array<int64_t, kMaxCopyAxes> from_strides, to_strides, out_dims;
  std::array<int64_t, kMaxCopyAxes> dims = {}, steps = {};

  // Chooses stretches for axes from `axis` on; `from` and `to` have moved by those chosen before.
  void walk(size_t axis, const std::byte* from, std::byte* to);
};

void PadWalk::walk(size_t axis, const std::byte* from, std::byte* to) {
  const size_t rank = pad.dims.size();
  if (axis == rank) {
    nd_copy(team, kernels, {pad.element_bytes, {dims.data(), rank}, {steps.data(), rank}, {to_strides.data(), rank}},
            from, to);
    return;
  }
  const int64_t out_size = out_dims[axis];
  for (int64_t at = 0; at < out_size; at += dims[axis]) {
    const Stretch stretch = stretch_at(pad.mode, pad.dims[axis], pad.before[axis], out_size, at);
    dims[axis] = stretch.size;
    steps[axis] = stretch.step * from_strides[axis];
    walk(axis + 1, from + stretch.source * from_strides[axis] * pad.element_bytes,
         to + at * to_strides[axis] * pad.element_bytes);
  }
}

// Fills everything, then copies the part of the source that is kept.
void pad_constant(PadWalk& walk, int64_t count, const std::byte* from, std::byte* to) {
  const Pad& pad = walk.pad;
  const size_t rank = pad.dims.size();
  fill(walk.team, pad.element_bytes, pad.value, count, to);
  for (size_t a = 0; a < rank; ++a) {
    const int64_t first = std::max<int64_t>(0, pad.before[a]);
    const int64_t last = std::min(walk.out_dims[a], pad.before[a] + pad.dims[a]);
    walk.dims[a] = std::max<int64_t>(0, last - first);
    from += (first - pad.before[a]) * walk.from_strides[a] * pad.element_bytes;
    to += first * walk.to_strides[a] * pad.element_bytes;
  }
  nd_copy(
      walk.team, walk.kernels,
      {pad.element_bytes, {walk.dims.data(), rank}, {walk.from_strides.data(), rank}, {walk.to_strides.data(), rank}},
      from, to);
}

}  // namespace

void pad(ThreadTeam& team, const KernelTable& kernels, const Pad& pad, const void* from, void* to) {
  const size_t rank = pad.dims.size();
  LATHE_CHECK(rank == pad.before.size() && rank == pad.after.size());
  if (rank > kMaxCopyAxes) fail(ErrorCode::unsupported, "padding a tensor of rank {}", rank);
  PadWalk walk = {team, kernels, pad, {}, {}, {}};
  int64_t from_stride = 1, count = 1;
  for (size_t a = rank; a-- > 0;) {
    const int64_t out = pad.before[a] + pad.dims[a] + pad.after[a];
    if (out < 0) fail(ErrorCode::invalid_argument, "padding crops axis {} below zero", a);
    if (out > 0 && pad.dims[a] == 0 && pad.mode != PadMode::constant) {
      fail(ErrorCode::invalid_argument, "padding axis {} needs values of an empty tensor", a);
    }
    walk.out_dims[a] = out;
    walk.from_strides[a] = from_stride;
    walk.to_strides[a] = count;
    from_stride *= pad.dims[a];
    count *= out;
  }
  if (count == 0) return;
  const auto* source = static_cast<const std::byte*>(from);
  auto* result = static_cast<std::byte*>(to);
  if (pad.mode == PadMode::constant) {
    pad_constant(walk, count, source, result);
  } else {
    walk.walk(0, source, result);
  }
}

}  // namespace lathe::cpu
