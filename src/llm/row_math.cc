#include "llm/row_math.h"

#include <xmmintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

namespace lathe::llm {
namespace {

constexpr size_t kLanes = 4, kBlock = 64;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

using Floats = float __attribute__((vector_size(16)));
using Ints = int32_t __attribute__((vector_size(16)));

Floats load(const float* from) {
  Floats out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

Floats broadcast(float value) { return Floats{value, value, value, value}; }

// Per lane, a where a > b, else b.
Floats larger(Floats a, Floats b) { return _mm_max_ps(a, b); }

// exp(x) for x <= 0, exact to about two units in the last place: x = n ln 2 + r, exp(r) by its series. Where x is not
// above `lowest`, and for NaN, 0 comes out.
Floats exp_of_negative(Floats x, float lowest) {
  constexpr float kLog2e = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  const Ints counts = x > broadcast(lowest);
  x = larger(x, broadcast(kLowestExponent));
  const Ints n = __builtin_convertvector(x * kLog2e - 0.5f, Ints);  // rounds, since x is not positive
  const Floats whole = __builtin_convertvector(n, Floats);
  const Floats r = (x - whole * kLn2High) - whole * kLn2Low;
  Floats sum = broadcast(1.0f / 5040);
  for (const float coefficient : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    sum = sum * r + coefficient;
  const Floats power = reinterpret_cast<Floats>((n + 127) << 23);
  return reinterpret_cast<Floats>(reinterpret_cast<Ints>(sum * power) & counts);
}

// The last, incomplete vector of a row, filled up with minus infinity.
Floats load_tail(std::span<const float> row) {
  Floats out = broadcast(-kInfinity);
  const size_t whole = row.size() / kLanes * kLanes;
  for (size_t i = whole; i < row.size(); ++i) out[static_cast<int>(i - whole)] = row[i];
  return out;
}

template <class Visit>
void for_each_vector(std::span<const float> row, const Visit& visit) {
  size_t i = 0;
  for (; i + kLanes <= row.size(); i += kLanes) visit(load(row.data() + i));
  if (i < row.size()) visit(load_tail(row));
}

}  // namespace

float row_max(std::span<const float> row) {
  constexpr size_t kChains = 4;  // of comparisons that do not wait for each other
  Floats most[kChains];
  for (Floats& chain : most) chain = broadcast(-kInfinity);
  size_t i = 0;
  for (; i + kChains * kLanes <= row.size(); i += kChains * kLanes)
    for (size_t c = 0; c < kChains; ++c) most[c] = larger(load(row.data() + i + c * kLanes), most[c]);
  for_each_vector(row.subspan(i), [&](Floats x) { most[0] = larger(x, most[0]); });
  const Floats all = larger(larger(most[0], most[1]), larger(most[2], most[3]));
  return std::max({all[0], all[1], all[2], all[3]});
}

int32_t row_argmax(std::span<const float> row) {
  constexpr size_t kStretch = 512;
  float most = -kInfinity;
  std::span<const float> holder = row;
  for (size_t i = 0; i < row.size(); i += kStretch) {
    const auto block = row.subspan(i, std::min(kStretch, row.size() - i));
    const float here = row_max(block);
    if (here > most) most = here, holder = block;
  }
  const auto found = std::find(holder.begin(), holder.end(), most);
  return found != holder.end() ? static_cast<int32_t>(&*found - row.data()) : 0;
}

double sum_exp(std::span<const float> row, float shift, float scale, float lowest) {
  double total = 0;
  for (; !row.empty(); row = row.subspan(std::min(row.size(), kBlock))) {  // short sums in float, long ones in double
    Floats sum = broadcast(0);
    for_each_vector(row.first(std::min(row.size(), kBlock)),
                    [&](Floats x) { sum += exp_of_negative((x - shift) * scale, lowest); });
    total += static_cast<double>(sum[0] + sum[1]) + static_cast<double>(sum[2] + sum[3]);
  }
  return total;
}

double sum_above(std::span<const float> row, float least) {
  double total = 0;
  for (; !row.empty(); row = row.subspan(std::min(row.size(), kBlock))) {
    Floats sum = broadcast(0);
    for_each_vector(row.first(std::min(row.size(), kBlock)), [&](Floats x) {
      const Ints counts = x > broadcast(least);
      sum += reinterpret_cast<Floats>(reinterpret_cast<Ints>(x) & counts);
    });
    total += static_cast<double>(sum[0] + sum[1]) + static_cast<double>(sum[2] + sum[3]);
  }
  return total;
}

void row_exp(std::span<const float> row, float shift, float scale, float* out) {
  size_t left = row.size();
  for_each_vector(row, [&](Floats x) {
    const Floats y = exp_of_negative((x - shift) * scale, kLowestExponent);
    const size_t count = std::min(left, kLanes);
    std::memcpy(out, &y, count * sizeof(float));
    out += count;
    left -= count;
  });
}

float kth_largest(std::span<const float> row, size_t count) {
  // As many blocks have a maximum at or above the count-th largest of the maxima as elements are needed, so nothing
  // below it is among the count largest.
  std::vector<float> maxima;
  maxima.reserve(row.size() / kBlock + 1);
  for (size_t i = 0; i < row.size(); i += kBlock)
    maxima.push_back(row_max(row.subspan(i, std::min(kBlock, row.size() - i))));
  float least = -kInfinity;
  const auto nth = [count](auto& values, auto&& above) {
    const auto place = values.begin() + static_cast<std::ptrdiff_t>(count - 1);
    std::nth_element(values.begin(), place, values.end(), above);
    return *place;
  };
  if (count <= maxima.size()) least = nth(maxima, std::greater<>());
  std::vector<Scored> candidates = at_least(row, least);
  if (candidates.size() < count) return -kInfinity;  // the rest are NaNs
  return nth(candidates, precedes).score;
}

std::vector<Scored> at_least(std::span<const float> row, float threshold) {
  std::vector<Scored> out;
  for (size_t begin = 0; begin < row.size(); begin += kBlock) {
    const auto block = row.subspan(begin, std::min(kBlock, row.size() - begin));
    if (row_max(block) < threshold) continue;
    for (size_t i = 0; i < block.size(); ++i)
      if (block[i] >= threshold) out.push_back({static_cast<int32_t>(begin + i), block[i]});
  }
  return out;
}

}  // namespace lathe::llm
