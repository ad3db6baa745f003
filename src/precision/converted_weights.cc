// Weights in other types: rounded, or as bytes with one scale per output channel.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/page_out.h"
#include "base/small_float.h"
#include "base/thread_team.h"
#include "graph/as_f32.h"
#include "precision/apply.h"
#include "runtime/session.h"

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

// Visits the elements of all channels, each with the thread it is on.
template <class Visit>
void for_each(ThreadTeam& team, const Cut& cut, const Visit& visit) {
  const bool by_outer = cut.outer > 1;
  team.parallel_for(by_outer ? cut.outer : cut.size, [&](int64_t begin, int64_t end, int thread) {
    const lathe::Range all_outer{0, cut.outer}, all_channels{0, cut.size}, part{begin, end};
    const lathe::Range outer = by_outer ? part : all_outer, channels = by_outer ? all_channels : part;
    for (int64_t o = outer.begin; o < outer.end; ++o)
      for (int64_t c = channels.begin; c < channels.end; ++c)
        for (int64_t i = 0, at = (o * cut.size + c) * cut.inner; i < cut.inner; ++i)
          visit(static_cast<size_t>(at + i), static_cast<size_t>(c), static_cast<size_t>(thread));
  });
}

// Of a mapped file, in which they may lie anywhere.
class Floats {
 public:
  explicit Floats(const Tensor& tensor) : data_(tensor.bytes().data()) {}
  float operator[](size_t i) const {
    float x;
    std::memcpy(&x, data_ + i * sizeof x, sizeof x);
    return x;
  }

 private:
  const std::byte* data_;
};

template <class To>
void round_all(const Floats& from, std::span<To> to) {
  ThreadTeam team(default_thread_count());
  team.parallel_for(static_cast<int64_t>(to.size()), [&](int64_t begin, int64_t end, int) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) to[i] = To(from[i]);
  });
}

// To the nearest integer, of two the even one; of numbers below 2^22, where floats this far up are whole.
float round_to_integer(float x) {
  constexpr float kWhole = 3 << 22;
  return (x + kWhole) - kWhole;
}

// Greatest finite number of a type that weights are quantised to.
float largest(DType type) {
  constexpr float kInt8 = 127, kFloat8 = 448;
  return type == DType::i8 ? kInt8 : kFloat8;
}

}  // namespace

const Tensor& ConvertedWeights::as_type(const Tensor& weights, DType type) {
  const auto [known, is_new] = converted_.try_emplace({weights.bytes().data(), 0, type});
  if (!is_new) return known->second;
  Tensor result(type, weights.dims());
  if (weights.dtype() == DType::f32 && type == DType::f16) {
    round_all(Floats(weights), result.mutable_as<Half>());
  } else if (weights.dtype() == DType::f32 && type == DType::bf16) {
    round_all(Floats(weights), result.mutable_as<BFloat16>());
  } else {
    for (int64_t i = 0; i < weights.elements(); ++i) result.write_double(i, weights.read_double(i));
  }
  if (lets_go_) page_out(weights.bytes());
  return known->second = std::move(result);
}

const ConvertedWeights::Quantized& ConvertedWeights::quantized(const Tensor& weights, size_t axis, DType type) {
  const auto [known, is_new] = quantized_.try_emplace({weights.bytes().data(), axis, type});
  if (!is_new) return known->second;
  const Tensor source = as_f32(weights);
  const Floats values(source);
  const Cut cut = cut_at(weights.dims(), axis);
  std::vector<int64_t> scale_dims(weights.dims().size(), 1);
  scale_dims[axis] = cut.size;
  Quantized q{Tensor(type, weights.dims()), Tensor(DType::f32, scale_dims)};
  const auto scales = q.scales.mutable_as<float>();
  ThreadTeam team(default_thread_count());
  std::vector<std::vector<float>> most(static_cast<size_t>(team.size()), std::vector<float>(scales.size()));
  for_each(team, cut, [&](size_t i, size_t c, size_t thread) {
    most[thread][c] = std::max(most[thread][c], std::abs(values[i]));
  });
  std::vector<float> inverse(scales.size());
  for (size_t c = 0; c < scales.size(); ++c) {
    for (const std::vector<float>& part : most) scales[c] = std::max(scales[c], part[c]);
    if (!std::isfinite(scales[c])) fail(ErrorCode::invalid_model, "weights that are not finite cannot be quantised");
    scales[c] = scales[c] > 0 ? scales[c] / largest(type) : 1;
    inverse[c] = 1 / scales[c];
  }
  if (type == DType::i8) {
    const auto bytes = q.elements.mutable_as<int8_t>();
    for_each(team, cut, [&](size_t at, size_t c, size_t) {
      bytes[at] = static_cast<int8_t>(std::clamp(round_to_integer(values[at] * inverse[c]), -127.0f, 127.0f));
    });
  } else {
    const auto bytes = q.elements.mutable_bytes();
    for_each(team, cut, [&](size_t at, size_t c, size_t) {
      bytes[at] = static_cast<std::byte>(small_float_from_float(type, values[at] * inverse[c], true));
    });
  }
  if (lets_go_) page_out(weights.bytes());
  return known->second = std::move(q);
}

}  // namespace lathe::precision
