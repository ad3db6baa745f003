// The weight layouts of the CPU backend (WeightLayout schemes) and their packing and exact unpacking.
//
//   gemm_panels {nr, transposed}                 [K, N] ([N, K] when transposed) as f32 panels of nr columns
//   gemm_f16_panels, gemm_bf16_panels {nr, transposed}    the same for weights that stay in 16 bits, see PanelType
//   gemm_int8_panels {nr, transposed}            [K, N] bytes as in kernels/gemm_int8_kernels.h
//   nbits_panels {nr, bits, block}, nbits_parameters {nr, bytes}    weights of a few bits, and their scales and zeros,
//                                                [N, K] as in kernels/matmul_nbits_kernels.h
//   conv_int8_panels {nr, groups}                [out, in / groups, kernel..] bytes, see kernels/conv_int8.h
//   conv_panels {vec_width, groups, transposed}  convolution weights, f32; see kernels/conv.h and kernels/gemm.h
//   gate_panels {nr, gates}                      [directions, gates * hidden, K] as f32 panels of nr units;
//   kernels/rnn.h
#pragma once

#include "backends/weight_layout.h"
#include "graph/tensor.h"

namespace lathe::cpu {

// For products whose weights are of `type`: f32, f16 or bf16.
WeightLayout gemm_panels(DType type, int nr, bool transposed);
WeightLayout gemm_int8_panels(int nr, bool transposed);
WeightLayout nbits_panels(int nr, int bits, int64_t block);
WeightLayout nbits_parameters(int nr, DType type);
WeightLayout conv_int8_panels(int nr, int64_t groups);
WeightLayout conv_panels(int vec_width, int64_t groups, bool transposed);
WeightLayout gate_panels(int nr, int64_t gates);

// Throw Error(invalid_model) for a layout that is not of this backend or does not fit the sizes: plans may be damaged.
size_t packed_bytes(const WeightLayout& layout, std::span<const int64_t> dims);
void pack(const WeightLayout& layout, const Tensor& weight, std::span<std::byte> packed);
// Float layouts give f32 whatever `dtype` was packed.
Tensor unpack(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims,
              std::span<const std::byte> packed);

}  // namespace lathe::cpu
