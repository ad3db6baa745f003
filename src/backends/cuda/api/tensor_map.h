// How the copy engine of Hopper finds its way through a tensor (kernels/tma.cuh).
#pragma once

#include <span>

#include "backends/cuda/api/driver.h"

namespace lathe::cuda {

inline constexpr int64_t kTensorMapAlignment = 16;  // bytes: of the address, and of the strides

// A box of a tensor is what one copy moves. Axes from the innermost one out, sizes in elements; `strides`, in bytes,
// are those of the axes after the innermost.
struct TensorBox {
  int element_bytes = 2;  // 1, 2 or 4
  std::span<const int64_t> sizes, strides;
  std::span<const int64_t> box;
  bool swizzled = true;  // 128-byte mode: the innermost axis of the box has 128 bytes
};

// Throws Error(internal) when the driver refuses. Only writes memory of the host: cheap enough for every launch.
CUtensorMap make_tensor_map(const DriverApi& driver, const void* address, const TensorBox& tensor);

}  // namespace lathe::cuda
