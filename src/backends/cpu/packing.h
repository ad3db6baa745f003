// The weight layouts of the CPU backend (WeightLayout schemes) and their packing and exact unpacking.
//
//   gemm_panels {nr, transposed}                 [K, N] ([N, K] when transposed) as f32 panels of nr columns
//   conv_panels {vec_width, groups, transposed}  convolution weights, f32; see kernels/conv.h and kernels/gemm.h
#pragma once

#include "backends/weight_layout.h"
#include "graph/tensor.h"

namespace lathe::cpu {

WeightLayout gemm_panels(int nr, bool transposed);
WeightLayout conv_panels(int vec_width, int64_t groups, bool transposed);

// Throw Error(invalid_model) for a layout that is not of this backend or does not fit the sizes: plans may be damaged.
size_t packed_bytes(const WeightLayout& layout, std::span<const int64_t> dims);
void pack(const WeightLayout& layout, const Tensor& source, std::span<std::byte> packed);
Tensor unpack(const WeightLayout& layout, std::span<const int64_t> dims, std::span<const std::byte> packed);  // f32

}  // namespace lathe::cpu
