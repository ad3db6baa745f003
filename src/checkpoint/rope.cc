#include "checkpoint/rope.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "base/error.h"

namespace lathe::checkpoint {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

double llama3_frequency(const Rope& rope, double frequency) {
  const auto original = static_cast<double>(rope.original_positions);
  const double wavelength = kTurn / frequency;
  if (wavelength < original / rope.high_frequency_factor) return frequency;
  if (wavelength > original / rope.low_frequency_factor) return frequency / rope.factor;
  const double smooth =
      (original / wavelength - rope.low_frequency_factor) / (rope.high_frequency_factor - rope.low_frequency_factor);
  return (1 - smooth) * frequency / rope.factor + smooth * frequency;
}

// Fast pairs keep their speed, slow ones are interpolated; in between a ramp over the index of the pair.
class YarnRamp {
 public:
  explicit YarnRamp(const Rope& rope) {
    low_ = pair_with_turns(rope, rope.beta_fast);
    high_ = pair_with_turns(rope, rope.beta_slow);
    if (rope.truncate) {
      low_ = std::floor(low_);
      high_ = std::ceil(high_);
    }
    low_ = std::max(low_, 0.0);
    high_ = std::min(high_, static_cast<double>(rope.dim - 1));
    if (low_ == high_) high_ += 0.001;
  }
  double interpolated_share(int64_t pair) const {
    return std::clamp((static_cast<double>(pair) - low_) / (high_ - low_), 0.0, 1.0);
  }

 private:
  // The (fractional) pair that turns this often within the original context.
  static double pair_with_turns(const Rope& rope, double turns) {
    return static_cast<double>(rope.dim) * std::log(static_cast<double>(rope.original_positions) / (turns * kTurn)) /
           (2 * std::log(rope.base));
  }
  double low_ = 0, high_ = 0;
};

}  // namespace

std::vector<float> inverse_frequencies(const Rope& rope, bool long_context) {
  const YarnRamp ramp(rope);
  std::vector<float> result;
  for (int64_t pair = 0; pair < rope.dim / 2; ++pair) {
    const double frequency = std::pow(rope.base, -2.0 * static_cast<double>(pair) / static_cast<double>(rope.dim));
    double scaled = frequency;
    switch (rope.scaling) {
      case RopeScaling::none:
      case RopeScaling::dynamic: break;
      case RopeScaling::linear: scaled = frequency / rope.factor; break;
      case RopeScaling::llama3: scaled = llama3_frequency(rope, frequency); break;
      case RopeScaling::yarn: {
        const double share = ramp.interpolated_share(pair);
        scaled = frequency / rope.factor * share + frequency * (1 - share);
        break;
      }
      case RopeScaling::longrope:
        scaled = frequency / (long_context ? rope.long_factors : rope.short_factors)[static_cast<size_t>(pair)];
        break;
    }
    result.push_back(static_cast<float>(rope.reversed ? -scaled : scaled));
  }
  return result;
}

// The base is multiplied by the stretch to the power of dim / (dim - 2), and a frequency is the base to that of
// -2 pair / dim.
std::vector<float> dynamic_exponents(const Rope& rope) {
  std::vector<float> result;
  for (int64_t pair = 0; pair < rope.dim / 2; ++pair)
    result.push_back(static_cast<float>(-2.0 * static_cast<double>(pair) / static_cast<double>(rope.dim - 2)));
  return result;
}

RotaryTables rotary_tables(const std::vector<float>& inverse_frequencies, double magnitude, int64_t positions) {
  const auto columns = static_cast<int64_t>(inverse_frequencies.size());
  RotaryTables tables{Tensor(DType::f32, {positions, columns}), Tensor(DType::f32, {positions, columns})};
  float* cos = tables.cos.mutable_as<float>().data();
  float* sin = tables.sin.mutable_as<float>().data();
  for (int64_t position = 0; position < positions; ++position)
    for (const float frequency : inverse_frequencies) {
      const double angle = static_cast<float>(position) * frequency;
      *cos++ = static_cast<float>(std::cos(angle) * magnitude);
      *sin++ = static_cast<float>(std::sin(angle) * magnitude);
    }
  return tables;
}

RotaryTables stacked(const RotaryTables& a, const RotaryTables& b) {
  const auto join = [](const Tensor& upper, const Tensor& lower) {
    LATHE_CHECK(upper.dims()[1] == lower.dims()[1]);
    Tensor both(DType::f32, {upper.dims()[0] + lower.dims()[0], upper.dims()[1]});
    std::byte* out = both.mutable_bytes().data();
    std::memcpy(out, upper.bytes().data(), upper.bytes().size());
    std::memcpy(out + upper.bytes().size(), lower.bytes().data(), lower.bytes().size());
    return both;
  };
  return {join(a.cos, b.cos), join(a.sin, b.sin)};
}

}  // namespace lathe::checkpoint
