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

Parameters fit(std::span<const float> row, const DynamicQuantize& op) {
  float low = 0, high = 0;
  for (const float x : row) {
    low = std::min(low, x);
    high = std::max(high, x);
  }
  Parameters p;
  if (op.floating || op.symmetric) {
    const float most = std::max(-low, high), largest = op.floating ? 448.0F : 127.0F;
    return {most == 0 ? 1.0F : most / largest, 0, op.floating ? -largest : -128, largest};
  }
  if (low < high) p.scale = (high - low) / 255.0F;
  p.zero = std::nearbyint(std::clamp(0.0F - low / p.scale, 0.0F, 255.0F));
  return p;
}

}  // namespace

std::vector<RefValue> evaluate(const DynamicQuantize& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  const DType bytes = op.floating ? DType::f8e4m3 : op.symmetric ? DType::i8 : DType::u8;
  Sizes parameter_dims = x.dims();
  std::fill(parameter_dims.begin() + op.axis, parameter_dims.end(), 1);
  Tensor q(bytes, x.dims()), scale(DType::f32, parameter_dims), zero(bytes, parameter_dims);
  const int64_t rows = scale.elements(), columns = x.elements() / std::max<int64_t>(rows, 1);
  std::vector<float> row(static_cast<size_t>(columns));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < columns; ++i)
      row[static_cast<size_t>(i)] = static_cast<float>(x.read_double(r * columns + i));
    const Parameters p = fit(row, op);
    for (int64_t i = 0; i < columns; ++i) {
      const float scaled = row[static_cast<size_t>(i)] / p.scale;
      if (op.floating)
        q.write_double(r * columns + i, static_cast<double>(std::clamp(scaled, p.low, p.high)));
      else
        q.write_int(r * columns + i, static_cast<int64_t>(std::clamp(std::nearbyint(scaled) + p.zero, p.low, p.high)));
    }
    scale.write_double(r, static_cast<double>(p.scale));
    zero.write_double(r, static_cast<double>(p.zero));
  }
  std::vector<RefValue> results = {std::move(q), std::move(scale), std::move(zero)};
  results.resize(call.num_outputs);
  return results;
}

}  // namespace lathe::reference
