#include "graph/weight_rounding.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace lathe {
namespace {

// Sums are kept in lanes that compilers turn into vectors; a block is padded with zeros, which add nothing.
constexpr int64_t kLanes = 4;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));

Lanes splat(float x) { return Lanes{} + x; }

Lanes load(const float* p) {
  Lanes v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

float sum_of(const Lanes& v) {
  float sum = 0;
  for (int64_t i = 0; i < kLanes; ++i) sum += v[i];
  return sum;
}

// To the nearest integer, halves to even, for |x| < 2^22; then into [low, high].
Lanes rounded(const Lanes& x, float low, float high) {
  constexpr float kMagic = 12582912.0F;  // 1.5 * 2^23: the unit of floats around it is 1
  const Lanes whole = (x + kMagic) - kMagic;
  const Lanes least = whole < low ? splat(low) : whole;
  return least > high ? splat(high) : least;
}

struct Levels {
  float low, high;
};
Levels levels_of(int bits) { return bits == 4 ? Levels{-8, 7} : Levels{-127, 127}; }

float as_stored(float scale, DType type) {
  if (type == DType::f16) return static_cast<float>(Half(scale));
  return type == DType::bf16 ? static_cast<float>(BFloat16(scale)) : scale;
}

float inverse_of(float scale) {
  const float inverse = 1 / scale;
  return std::isfinite(inverse) ? inverse : 0;
}

int8_t level(float quotient, const Levels& levels) {
  return static_cast<int8_t>(std::clamp(std::nearbyint(quotient), levels.low, levels.high));
}

struct Fit {
  float error, best_scale;  // of the levels that were chosen: their error, and the scale that would suit them best
};

Fit fit(std::span<const float> block, float scale, const Levels& levels) {
  const float inverse = inverse_of(scale);
  Lanes error{}, wq{}, qq{};
  for (size_t i = 0; i < block.size(); i += kLanes) {
    const Lanes w = load(block.data() + i), q = rounded(w * inverse, levels.low, levels.high), rest = w - q * scale;
    error += rest * rest;
    wq += w * q;
    qq += q * q;
  }
  const float squares = sum_of(qq);
  return {sum_of(error), squares > 0 ? sum_of(wq) / squares : scale};
}

// `extreme` is the number of the greatest magnitude, with its sign: four bits reach one further down than up, so a
// scale of the other sign lets it have that level.
float search_scale(std::span<const float> block, float extreme, const Levels& levels, DType type) {
  constexpr int kCandidates = 12, kRefinements = 2;
  constexpr float kFirst = 0.72F, kStep = 0.03F;  // of the scale that maps the extreme to the lowest level
  float best = 0, refined = 0, least = std::numeric_limits<float>::infinity();
  const auto consider = [&](float scale) {
    const float stored = as_stored(scale, type);
    const Fit result = fit(block, stored, levels);
    if (result.error >= least) return;
    least = result.error;
    best = stored;
    refined = result.best_scale;
  };
  for (int i = 0; i < kCandidates; ++i) consider(extreme / levels.low * (kFirst + kStep * static_cast<float>(i)));
  for (int i = 0; i < kRefinements; ++i) consider(refined);
  return best;
}

// One row, its blocks one after the other.
class RowRounder {
 public:
  RowRounder(const RoundingOptions& options, int64_t k)
      : options_(options), k_(k), row_(static_cast<size_t>(k)), search_(options.bits, options.scale) {}

  // q: levels of the row; scales: one for each block.
  void round(const Tensor& rows, int64_t row, std::span<int8_t> q, std::span<float> scales) {
    read(rows, row);
    const Levels levels = levels_of(options_.bits);
    for (int64_t begin = 0; begin < k_; begin += options_.block) {
      const int64_t count = std::min(options_.block, k_ - begin);
      const auto source = std::span(row_).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
      const float scale = search_.best(source);
      scales[static_cast<size_t>(begin / options_.block)] = scale;
      const float inverse = inverse_of(scale);
      for (size_t i = 0; i < source.size(); ++i) q[static_cast<size_t>(begin) + i] = level(source[i] * inverse, levels);
    }
  }

 private:
  void read(const Tensor& rows, int64_t row) {
    visit_native(rows.dtype(), [&]<class T>() {
      if constexpr (std::is_same_v<T, float> || std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
        const std::span<const T> source = rows.as<T>().subspan(static_cast<size_t>(row * k_), row_.size());
        for (size_t i = 0; i < source.size(); ++i) row_[i] = static_cast<float>(source[i]);
      }
    });
  }

  const RoundingOptions& options_;
  int64_t k_;
  std::vector<float> row_;
  ScaleSearch search_;
};

}  // namespace

float ScaleSearch::best(std::span<const float> block) {
  padded_.assign((block.size() + kLanes - 1) / kLanes * kLanes, 0.0F);
  std::copy(block.begin(), block.end(), padded_.begin());
  Lanes low{}, high{}, zeros{};
  for (size_t i = 0; i < padded_.size(); i += kLanes) {
    const Lanes w = load(padded_.data() + i);
    low = w < low ? w : low;
    high = w > high ? w : high;
    zeros += w * 0.0F;  // NaN for what is not finite
  }
  if (sum_of(zeros) != 0) fail(ErrorCode::invalid_model, "a weight holds infinities or NaN and cannot be rounded");
  float least = 0, most = 0;
  for (int64_t i = 0; i < kLanes; ++i) {
    least = std::min(least, low[i]);
    most = std::max(most, high[i]);
  }
  const Levels levels = levels_of(bits_);
  if (bits_ == 8) return as_stored(std::max(most, -least) / levels.high, type_);
  return search_scale(padded_, most > -least ? most : least, levels, type_);
}

int8_t nearest_level(float w, float scale, int bits) { return level(w * inverse_of(scale), levels_of(bits)); }

// Two levels in each byte, the first in its low half.
void store_levels(std::span<const int8_t> levels, int64_t first, int bits, std::span<std::byte> out) {
  if (bits == 8) {
    std::memcpy(out.data() + first, levels.data(), levels.size());
    return;
  }
  for (size_t i = 0; i < levels.size(); ++i) {
    const auto at = static_cast<size_t>(first) + i;
    const auto bits_of_level = static_cast<std::byte>(levels[i] & 15);
    std::byte& byte = out[at / 2];
    byte = at % 2 == 0 ? (byte & std::byte{0xf0}) | bits_of_level : (byte & std::byte{0x0f}) | bits_of_level << 4;
  }
}

WeightRounder::WeightRounder(int64_t n, int64_t k, const RoundingOptions& options) : options_(options) {
  if (options.bits != 4 && options.bits != 8)
    fail(ErrorCode::invalid_argument, "weights are rounded to 4 or 8 bits, not {}", options.bits);
  if (options.block < 0 || n < 0 || k < 0) fail(ErrorCode::invalid_argument, "a size is negative");
  if (options.scale != DType::f32 && !is_half(options.scale))
    fail(ErrorCode::invalid_argument, "scales of type {} are not supported", to_string(options.scale));
  if (options_.block == 0) options_.block = std::max<int64_t>(k, 1);
  result_.q = Tensor(options.bits == 4 ? DType::i4 : DType::i8, {n, k});
  result_.scales = Tensor(options.scale, {n, (k + options_.block - 1) / options_.block});
}

void WeightRounder::add_rows(const Tensor& given, ThreadTeam& team) {
  const int64_t n = result_.q.dims()[0], k = result_.q.dims()[1], blocks = result_.scales.dims()[1];
  const DType type = given.dtype();
  if (given.rank() != 2 || given.dims()[1] != k || (type != DType::f32 && !is_half(type)))
    fail(ErrorCode::invalid_model, "rows of {} {} do not fit a weight of shape {}", to_string(type),
         to_string(given.dims()), to_string(result_.q.dims()));
  const int64_t rows = given.dims()[0];
  if (rows > n - done_) fail(ErrorCode::invalid_model, "a weight of {} rows has {} more", n, rows);
  const Tensor source = given.aligned();
  const std::span<std::byte> q = result_.q.mutable_bytes();
  // Threads begin at even rows, so that none shares a byte of levels with another.
  const int64_t first = done_ % 2, pairs = (first + rows + 1) / 2;
  team.parallel_for(pairs, [&](int64_t begin, int64_t end, int) {
    RowRounder rounder(options_, k);
    std::vector<int8_t> levels(static_cast<size_t>(k));
    std::vector<float> row_scales(static_cast<size_t>(blocks));
    for (int64_t row = std::max<int64_t>(2 * begin - first, 0); row < std::min(2 * end - first, rows); ++row) {
      rounder.round(source, row, levels, row_scales);
      store_levels(levels, (done_ + row) * k, options_.bits, q);
      for (int64_t b = 0; b < blocks; ++b)
        result_.scales.write_double((done_ + row) * blocks + b,
                                    static_cast<double>(row_scales[static_cast<size_t>(b)]));
    }
  });
  done_ += rows;
}

RoundedWeight WeightRounder::finish() && {
  LATHE_CHECK(done_ == result_.q.dims()[0]);
  return std::move(result_);
}

}  // namespace lathe
