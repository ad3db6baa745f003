#include "backends/cuda/api/tensor_map.h"

#include <array>

namespace lathe::cuda {
namespace {

constexpr size_t kMaxRank = 5;

// CUtensorMapDataType; elements are moved, not computed with, so that only their size matters.
int data_type(int element_bytes) { return element_bytes == 4 ? 2 : element_bytes - 1; }

constexpr int kNoInterleave = 0, kNoSwizzle = 0, kSwizzle128 = 3, kPromote256 = 3, kFillZeros = 0;

}  // namespace

CUtensorMap make_tensor_map(const DriverApi& driver, const void* address, const TensorBox& tensor) {
  const size_t rank = tensor.sizes.size();
  LATHE_CHECK(rank >= 1 && rank <= kMaxRank && tensor.strides.size() == rank - 1 && tensor.box.size() == rank);
  std::array<uint64_t, kMaxRank> sizes{}, strides{};
  std::array<uint32_t, kMaxRank> box{}, steps{};
  for (size_t i = 0; i < rank; ++i) {
    sizes[i] = static_cast<uint64_t>(tensor.sizes[i]);
    box[i] = static_cast<uint32_t>(tensor.box[i]);
    steps[i] = 1;
    if (i > 0) strides[i - 1] = static_cast<uint64_t>(tensor.strides[i - 1]);
  }
  CUtensorMap map;
  driver.check(driver.tensor_map_encode_tiled(&map, data_type(tensor.element_bytes), static_cast<uint32_t>(rank),
                                              const_cast<void*>(address), sizes.data(), strides.data(), box.data(),
                                              steps.data(), kNoInterleave, tensor.swizzled ? kSwizzle128 : kNoSwizzle,
                                              kPromote256, kFillZeros),
               "describing a tensor to the copy engine");
  return map;
}

}  // namespace lathe::cuda
