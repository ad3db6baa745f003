#include <bit>

#include "backends/cuda/lower/movement.h"

namespace lathe::cuda {

std::string why_not_movable(DType type) {
  const int bits = bit_width(type);
  return bits % 8 == 0 && bits > 0 ? "" : fmt::format("elements of {} have no address of their own", to_string(type));
}

std::string why_no_index(DType type) {
  return type == DType::i64 || type == DType::i32 ? "" : fmt::format("indices are {}, not i32 or i64", to_string(type));
}

// With shift = ceil(log2 d) and m = floor(2^32 (2^shift - d) / d) + 1, n / d = (high(n m) + n) >> shift.
Divisor divisor(int64_t value) {
  const uint64_t d = value < 1 ? 1 : static_cast<uint64_t>(value);
  if (d >= uint64_t{1} << 31) return {0, 31, d};  // of numbers below 2^31, the quotient is 0
  const unsigned shift = static_cast<unsigned>(std::bit_width(d - 1));
  const uint64_t multiplier = (((uint64_t{1} << shift) - d) << 32) / d + 1;
  return {static_cast<unsigned>(multiplier), shift, d};
}

std::vector<int64_t> dense_strides(std::span<const int64_t> dims) {
  std::vector<int64_t> strides(dims.size());
  int64_t stride = 1;
  for (size_t axis = dims.size(); axis-- > 0; stride *= dims[axis]) strides[axis] = stride;
  return strides;
}

int64_t product(std::span<const int64_t> dims) {
  int64_t result = 1;
  for (const int64_t dim : dims) result *= dim;
  return result;
}

int widest_unit(std::initializer_list<int64_t> bytes) {
  int unit = 16;
  for (const int64_t count : bytes)
    while (count % unit != 0) unit /= 2;
  return unit;
}

std::vector<WalkAxis> merge_walk(const std::vector<WalkAxis>& axes) {
  std::vector<WalkAxis> merged;
  for (const WalkAxis& axis : axes) {
    if (axis.size == 1) continue;
    if (!merged.empty() && merged.back().stride == axis.stride * axis.size)
      merged.back() = {merged.back().size * axis.size, axis.stride};
    else
      merged.push_back(axis);
  }
  if (merged.empty()) merged.push_back({1, 1});
  return merged;
}

// ---- MoveKernel ----

MoveKernel::MoveKernel(KernelLibrary& kernels, std::string file, std::vector<std::string> defines)
    : kernels_(kernels), file_(std::move(file)), defines_(std::move(defines)), small_(&request("u32")) {}

const Kernel& MoveKernel::request(const char* index) const {
  std::vector<std::string> defines = defines_;
  defines.push_back(std::string("INDEX=") + index);
  return kernels_.request({file_ + ".cu", file_, std::move(defines), {}});
}

const Kernel* MoveKernel::for_elements(int64_t largest_tensor) const {
  if (largest_tensor < int64_t{1} << 31) return small_;
  const Kernel& large = request("u64");
  kernels_.build();
  return &large;
}

// ---- arguments ----

namespace {

CopyArgs copy_args(const std::vector<WalkAxis>& axes, int64_t bytes, int unit) {
  CopyArgs args{};
  args.unit = unit;
  args.rank = static_cast<int>(axes.size());
  args.total = 1;
  const int64_t per_unit = unit / bytes;  // elements
  for (size_t axis = 0; axis < axes.size(); ++axis) {
    const bool last = axis + 1 == axes.size();
    const int64_t size = last ? axes[axis].size / per_unit : axes[axis].size;
    args.total *= static_cast<unsigned long long>(size);
    args.sizes[axis] = divisor(size);
    args.strides[axis] = last && per_unit > 1 ? 1 : axes[axis].stride / per_unit;
  }
  return args;
}

}  // namespace

std::unique_ptr<MoveState<CopyArgs>> copy_state(const std::vector<WalkAxis>& axes, int64_t offset, int64_t bytes) {
  const std::vector<WalkAxis> merged = merge_walk(axes);
  int unit = static_cast<int>(bytes);
  if (merged.back().stride == 1) {
    unit = widest_unit({merged.back().size * bytes, offset * bytes});
    for (size_t axis = 0; axis + 1 < merged.size(); ++axis)
      unit = std::min(unit, widest_unit({merged[axis].stride * bytes}));
  }
  auto state = std::make_unique<MoveState<CopyArgs>>();
  state->wide = copy_args(merged, bytes, unit);
  state->narrow = copy_args(merged, bytes, static_cast<int>(bytes));
  return state;
}

ElementsArgs elements_args(std::span<const int64_t> dims, const TensorRef& indices, size_t axis, DType type) {
  ElementsArgs args{};
  args.unit = static_cast<int>(element_bytes(type));
  args.wide_indices = indices.dtype == DType::i64;
  args.total = static_cast<unsigned long long>(indices.elements());
  args.limit = dims[axis];
  std::vector<int64_t> strides = dense_strides(dims);
  args.axis_stride = strides[axis];
  strides[axis] = 0;
  std::vector<WalkAxis> walk;
  for (size_t a = 0; a < dims.size(); ++a) walk.push_back({indices.dims[a], strides[a]});
  walk = merge_walk(walk);
  args.rank = static_cast<int>(walk.size());
  for (size_t a = 0; a < walk.size(); ++a) {
    args.sizes[a] = divisor(walk[a].size);
    args.strides[a] = walk[a].stride;
  }
  return args;
}

int64_t slice_elements(std::span<const int64_t> dims, const TensorRef& indices, int64_t batch_dims) {
  return product(dims.subspan(static_cast<size_t>(batch_dims + indices.dims.back())));
}

SlicesArgs slices_args(std::span<const int64_t> dims, const TensorRef& indices, int64_t batch_dims, int64_t bytes,
                       int unit) {
  SlicesArgs args{};
  const auto batch = static_cast<size_t>(batch_dims);
  const int64_t slice = slice_elements(dims, indices, batch_dims) * bytes / unit;
  const int64_t rows = product(indices.dims.first(indices.dims.size() - 1)), batches = product(dims.first(batch));
  args.unit = unit;
  args.wide_indices = indices.dtype == DType::i64;
  args.depth = static_cast<int>(indices.dims.back());
  args.total = static_cast<unsigned long long>(rows) * static_cast<unsigned long long>(slice);
  args.slice = divisor(slice);
  args.rows_per_batch = divisor(batches == 0 ? 1 : rows / batches);
  int64_t stride = slice;
  for (size_t axis = batch + static_cast<size_t>(args.depth); axis-- > batch; stride *= dims[axis]) {
    args.limits[axis - batch] = dims[axis];
    args.strides[axis - batch] = stride;
  }
  args.batch_stride = static_cast<unsigned long long>(stride);
  return args;
}

}  // namespace lathe::cuda
