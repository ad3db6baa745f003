#include "backends/cuda/weight_packing.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace lathe::cuda {
namespace {

constexpr std::string_view kChannelsLast = "channels_last", kTransposed = "transposed";

// Both layouts swap the rows and columns of `outer` matrices.
struct Sizes {
  size_t outer, rows, columns, element;
};

Sizes read(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims) {
  const bool channels_last = layout.scheme == kChannelsLast;
  if (!channels_last && layout.scheme != kTransposed)
    throw Error(ErrorCode::invalid_model,
                fmt::format("the CUDA backend does not know the weight layout '{}'", layout.scheme))
        .remedy("Build the plan again with this version of lathe");
  const bool fits = channels_last ? dims.size() >= 3 : dims.size() == 2;
  if (!fits || bit_width(dtype) % 8 != 0)
    fail(ErrorCode::invalid_model, "weight layout {} does not fit a weight of {}{}", layout.scheme, to_string(dtype),
         to_string(dims));
  const auto size = [&](size_t axis) { return static_cast<size_t>(dims[axis]); };
  const size_t element = static_cast<size_t>(bit_width(dtype)) / 8;
  if (!channels_last) return {1, size(0), size(1), element};
  size_t taps = 1;
  for (size_t axis = 2; axis < dims.size(); ++axis) taps *= size(axis);
  return {size(0), size(1), taps, element};
}

// Swaps rows and columns of a matrix, block by block, so that what is read and written stays in the cache.
template <size_t Element>
void transpose_matrix(const std::byte* from, std::byte* to, size_t rows, size_t columns) {
  constexpr size_t kBlock = 64;
  for (size_t row = 0; row < rows; row += kBlock)
    for (size_t column = 0; column < columns; column += kBlock)
      for (size_t c = column; c < std::min(columns, column + kBlock); ++c)
        for (size_t r = row; r < std::min(rows, row + kBlock); ++r)
          std::memcpy(to + (c * rows + r) * Element, from + (r * columns + c) * Element, Element);
}

// In each of `count` matrices of rows x columns elements.
void transpose(const std::byte* from, std::byte* to, size_t count, size_t rows, size_t columns, size_t element) {
  const auto of_size = element == 1   ? transpose_matrix<1>
                       : element == 2 ? transpose_matrix<2>
                       : element == 4 ? transpose_matrix<4>
                                      : transpose_matrix<8>;
  const size_t bytes = rows * columns * element;
  for (size_t matrix = 0; matrix < count; ++matrix) of_size(from + matrix * bytes, to + matrix * bytes, rows, columns);
}

}  // namespace

WeightLayout channels_last_weights() { return {std::string(kChannelsLast), {}}; }
WeightLayout transposed_weights() { return {std::string(kTransposed), {}}; }

size_t packed_bytes(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims) {
  const Sizes s = read(layout, dtype, dims);
  return s.outer * s.rows * s.columns * s.element;
}

void pack(const WeightLayout& layout, const Tensor& source, std::span<std::byte> packed) {
  const Sizes s = read(layout, source.dtype(), source.dims());
  LATHE_CHECK(packed.size() == packed_bytes(layout, source.dtype(), source.dims()));
  transpose(source.bytes().data(), packed.data(), s.outer, s.rows, s.columns, s.element);
}

Tensor unpack(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims,
              std::span<const std::byte> packed) {
  const Sizes s = read(layout, dtype, dims);
  if (packed.size() != packed_bytes(layout, dtype, dims))
    fail(ErrorCode::invalid_model, "a weight of shape {} in layout {} has {} bytes", to_string(dims), layout.scheme,
         packed.size());
  Tensor plain(dtype, {dims.begin(), dims.end()});
  transpose(packed.data(), plain.mutable_bytes().data(), s.outer, s.columns, s.rows, s.element);
  return plain;
}

}  // namespace lathe::cuda
