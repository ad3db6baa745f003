// Weights in other types: rounded, or as bytes with one scale per output channel.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/page_out.h"
#include "base/small_float.h"
#include "precision/apply.h"

namespace lathe::precision {
namespace {

// [outer, axis, inner] around one axis.
struct Cut {
  int64_t outer = 1, size = 1, inner = 1;
};

Cut cut_at(const std::vector<int64_t>& dims, size_t axis) {
  Cut cut;
  for (size_t i = 0; i < dims.size(); ++i) (i < axis ? cut.outer : i == axis ? cut.size : cut.inner) *= dims[i];
  return cut;
}

template <class Visit>
void for_each(const Cut& cut, const Visit& visit) {
  int64_t at = 0;
  for (int64_t o = 0; o < cut.outer; ++o)
    for (int64_t c = 0; c < cut.size; ++c)
      for (int64_t i = 0; i < cut.inner; ++i) visit(at++, static_cast<size_t>(c));
}

// Greatest finite number of a type that weights are quantised to.
float largest(DType type) {
  constexpr float kInt8 = 127, kFloat8 = 448;
  return type == DType::i8 ? kInt8 : kFloat8;
}

}  // namespace

const Tensor& ConvertedWeights::as_type(const Tensor& weights, DType type) {
  const Tensor source = weights.aligned();
  const auto [known, is_new] = converted_.try_emplace({weights.bytes().data(), 0, type});
  if (!is_new) return known->second;
  Tensor result(type, weights.dims());
  if (weights.dtype() == DType::f32 && bit_width(type) == 16) {
    const auto from = source.as<float>();
    if (type == DType::f16)
      std::transform(from.begin(), from.end(), result.mutable_as<Half>().begin(), [](float x) { return Half(x); });
    else
      std::transform(from.begin(), from.end(), result.mutable_as<BFloat16>().begin(),
                     [](float x) { return BFloat16(x); });
  } else {
    for (int64_t i = 0; i < weights.elements(); ++i) result.write_double(i, weights.read_double(i));
  }
  if (lets_go_) page_out(weights.bytes());
  return known->second = std::move(result);
}

const ConvertedWeights::Quantized& ConvertedWeights::quantized(const Tensor& weights, size_t axis, DType type) {
  const auto [known, is_new] = quantized_.try_emplace({weights.bytes().data(), axis, type});
  if (!is_new) return known->second;
  const Tensor source = weights.aligned();
  const auto values = source.as<float>();
  const Cut cut = cut_at(weights.dims(), axis);
  std::vector<int64_t> scale_dims(weights.dims().size(), 1);
  scale_dims[axis] = cut.size;
  Quantized q{Tensor(type, weights.dims()), Tensor(DType::f32, scale_dims)};
  const auto scales = q.scales.mutable_as<float>();
  for_each(cut,
           [&](int64_t i, size_t c) { scales[c] = std::max(scales[c], std::abs(values[static_cast<size_t>(i)])); });
  std::vector<float> inverse(scales.size());
  for (size_t c = 0; c < scales.size(); ++c) {
    if (!std::isfinite(scales[c])) fail(ErrorCode::invalid_model, "weights that are not finite cannot be quantised");
    scales[c] = scales[c] > 0 ? scales[c] / largest(type) : 1;
    inverse[c] = 1 / scales[c];
  }
  if (type == DType::i8) {
    const auto bytes = q.elements.mutable_as<int8_t>();
    for_each(cut, [&](int64_t i, size_t c) {
      const auto at = static_cast<size_t>(i);
      bytes[at] = static_cast<int8_t>(std::clamp(std::nearbyint(values[at] * inverse[c]), -127.0f, 127.0f));
    });
  } else {
    const auto bytes = q.elements.mutable_bytes();
    for_each(cut, [&](int64_t i, size_t c) {
      const auto at = static_cast<size_t>(i);
      bytes[at] = static_cast<std::byte>(small_float_from_float(type, values[at] * inverse[c], true));
    });
  }
  if (lets_go_) page_out(weights.bytes());
  return known->second = std::move(q);
}

}  // namespace lathe::precision
