// The layouts of weights that kernels on the GPU want besides the plain one: convolution weights with channels last,
// [m, taps.., c] instead of [m, c, taps..], and matrices transposed.
#pragma once

#include "backends/weight_layout.h"
#include "graph/tensor.h"

namespace lathe::cuda {

WeightLayout channels_last_weights();
WeightLayout transposed_weights();

// As Backend has them. Throw Error(invalid_model) for other layouts.
size_t packed_bytes(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims);
void pack(const WeightLayout& layout, const Tensor& source, std::span<std::byte> packed);
Tensor unpack(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims,
              std::span<const std::byte> packed);

}  // namespace lathe::cuda
