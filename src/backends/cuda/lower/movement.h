// Shared by the data-movement families: units, divisors, and steps that keep two versions of their arguments, in the
// widest units that the sizes allow and in single elements, for addresses that are not aligned to wide units.
#pragma once

#include <initializer_list>

#include "backends/cuda/kernels/movement_args.h"
#include "backends/cuda/lower/lower.h"

namespace lathe::cuda {

// Why elements of `type` cannot be moved by address ("" if they can): strings, and types smaller than a byte.
std::string why_not_movable(DType type);
// Why `type` cannot serve as indices ("" if it can).
std::string why_no_index(DType type);
inline int64_t element_bytes(DType type) { return bit_width(type) / 8; }

// For dividing numbers below 2^31 (or any, where kernels use 64 bits); 0 is taken for 1.
Divisor divisor(int64_t value);
std::vector<int64_t> dense_strides(std::span<const int64_t> dims);
int64_t product(std::span<const int64_t> dims);

// The widest unit, in bytes, that all these numbers of bytes are multiples of.
int widest_unit(std::initializer_list<int64_t> bytes);
inline bool is_aligned(const void* address, int unit) {
  return reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(unit) == 0;
}

// Axes of a walk through a tensor, outermost first, sizes and strides in elements.
struct WalkAxis {
  int64_t size, stride;
};
// Without axes of one element, and with neighbours joined that are walked like one axis; at least one axis.
std::vector<WalkAxis> merge_walk(const std::vector<WalkAxis>& axes);

// A kernel in its 32-bit version, and its 64-bit version from when it is first needed.
class MoveKernel {
 public:
  MoveKernel(KernelLibrary& kernels, std::string file, std::vector<std::string> defines = {});
  const Kernel* for_elements(int64_t largest_tensor) const;

 private:
  const Kernel& request(const char* index) const;

  KernelLibrary& kernels_;
  std::string file_;
  std::vector<std::string> defines_;
  const Kernel* small_;
};

template <class Args>
struct MoveState : StepState {
  Args wide{}, narrow{};
  const Kernel* kernel = nullptr;
};

template <class Args>
void launch_moves(const Kernel& kernel, const Args& args, DeviceContext& device) {
  if (args.total == 0) return;
  const int64_t blocks = ceil_div(static_cast<int64_t>(args.total), kMoveThreads * kMoveItems);
  kernel.launch(stream_of(device), {static_cast<unsigned>(blocks)}, kMoveThreads, 0, args);
}

// For kernels whose arguments name one tensor x and one tensor y.
template <class Args>
void launch_moves(const MoveState<Args>& state, const void* x, void* y, const void* indices, DeviceContext& device) {
  Args args = is_aligned(x, state.wide.unit) && is_aligned(y, state.wide.unit) ? state.wide : state.narrow;
  args.x = x;
  args.y = y;
  if constexpr (requires { args.indices; }) args.indices = indices;
  if constexpr (requires { args.lengths; }) args.lengths = indices;
  if constexpr (requires { args.fill; }) args.fill = indices;
  launch_moves(*state.kernel, args, device);
}

// ---- arguments that several ops use ----

// y written from the walk `axes` through a tensor, from `offset` on.
std::unique_ptr<MoveState<CopyArgs>> copy_state(const std::vector<WalkAxis>& axes, int64_t offset, int64_t bytes);
// Of the indices' axes through a tensor of `dims`, in units of one element.
ElementsArgs elements_args(std::span<const int64_t> dims, const TensorRef& indices, size_t axis, DType type);
// Of the slices of a tensor of `dims` that the rows of `indices` name, in units of `unit` bytes.
SlicesArgs slices_args(std::span<const int64_t> dims, const TensorRef& indices, int64_t batch_dims, int64_t bytes,
                       int unit);
// Elements of one such slice.
int64_t slice_elements(std::span<const int64_t> dims, const TensorRef& indices, int64_t batch_dims);

}  // namespace lathe::cuda
