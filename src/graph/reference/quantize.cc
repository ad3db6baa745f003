// Quantisation with parameters from the data. Computed in f32, as the definition says: a rounding to the other side
// would be a difference of a whole step.
#include <algorithm>
#include <cmath>

#include "graph/reference/families.h"
#include "graph/reference/numbers.h"

namespace lathe::reference {
namespace {

struct Parameters {
  float scale = 1, zero = 0, low = 0, high = 255;
};

Parameters fit(std::span<const float> row, bool symmetric) {
  float low = 0, high = 0;
  for (const float x : row) {
    low = std::min(low, x);
    high = std::max(high, x);
  }
  Parameters p;
  if (symmetric) {
    const float most = std::max(-low, high);
    return {most == 0 ? 1.0F : most / 127.0F, 0, -128, 127};
  }
  if (low < high) p.scale = (high - low) / 255.0F;
  p.zero = std::nearbyint(std::clamp(0.0F - low / p.scale, 0.0F, 255.0F));
  return p;
}

}  // namespace

std::vector<RefValue> evaluate(const DynamicQuantize& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  const DType bytes = op.symmetric ? DType::i8 : DType::u8;
  Sizes parameter_dims = x.dims();
  std::fill(parameter_dims.begin() + op.axis, parameter_dims.end(), 1);
  Tensor q(bytes, x.dims()), scale(DType::f32, parameter_dims), zero(bytes, parameter_dims);
  const int64_t rows = scale.elements(), columns = x.elements() / std::max<int64_t>(rows, 1);
  for (int64_t r = 0; r < rows; ++r) {
    const auto row = x.as<float>().subspan(static_cast<size_t>(r * columns), static_cast<size_t>(columns));
    const Parameters p = fit(row, op.symmetric);
    for (int64_t i = 0; i < columns; ++i) {
      const float rounded = std::nearbyint(row[static_cast<size_t>(i)] / p.scale) + p.zero;
      q.write_int(r * columns + i, static_cast<int64_t>(std::clamp(rounded, p.low, p.high)));
    }
    scale.write_double(r, static_cast<double>(p.scale));
    zero.write_int(r, static_cast<int64_t>(p.zero));
  }
  std::vector<RefValue> results = {std::move(q), std::move(scale), std::move(zero)};
  results.resize(call.num_outputs);
  return results;
}

}  // namespace lathe::reference
