// Passes over a row of logits, one per token of the vocabulary, fast enough to be run for every token drawn: vectors of
// four lanes that every x86-64 has, selection instead of sorting. NaNs count as minus infinity.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lathe::llm {

struct Scored {
  int32_t id;
  float score;
};

// The higher score first; of equal ones the lower id.
inline bool precedes(const Scored& a, const Scored& b) { return a.score != b.score ? a.score > b.score : a.id < b.id; }

float row_max(std::span<const float> row);
// The first of the largest.
int32_t row_argmax(std::span<const float> row);

// Below this, exponentials count as 0.
inline constexpr float kLowestExponent = -87;

// The sum of exp((x - shift) * scale) over the row, for shift >= every x and scale > 0; without terms whose exponent is
// `lowest` or less.
double sum_exp(std::span<const float> row, float shift, float scale, float lowest = kLowestExponent);
// The sum of what is above `least`, for numbers of at least 0.
double sum_above(std::span<const float> row, float least);
// exp((x - shift) * scale) for each x.
void row_exp(std::span<const float> row, float shift, float scale, float* out);

// The count-th largest score, from 1 to the size of the row.
float kth_largest(std::span<const float> row, size_t count);
// All at or above the threshold, in the order of their ids.
std::vector<Scored> at_least(std::span<const float> row, float threshold);

}  // namespace lathe::llm
