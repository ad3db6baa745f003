// Rotary position embeddings: how fast each pair of features turns, under every scaling in use, and the tables of
// cosines and sines that a graph holds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/tensor.h"

namespace lathe::checkpoint {

// Published as: position interpolation (linear), NTK by length (dynamic), Llama 3.1 (llama3), YaRN (arXiv 2309.00071),
// LongRoPE (arXiv 2402.13753).
enum class RopeScaling : uint8_t { none, linear, dynamic, llama3, yarn, longrope };

struct Rope {
  int64_t dim = 0;  // features that turn; even
  double base = 10000;
  RopeScaling scaling = RopeScaling::none;
  double factor = 1;
  int64_t original_positions = 0;                              // the context of the training before it was stretched
  double low_frequency_factor = 1, high_frequency_factor = 4;  // llama3
  double beta_fast = 32, beta_slow = 1;                        // yarn
  bool truncate = true;                                        // yarn
  double magnitude = 1;                                        // of cosines and sines
  bool reversed = false;                                       // pairs turn the other way
  std::vector<double> short_factors, long_factors;             // longrope
};

// dim / 2 angles per position. `long_context`: of sequences beyond original_positions, for which LongRoPE has factors
// of their own. Those of dynamic scaling are of sequences up to original_positions.
std::vector<float> inverse_frequencies(const Rope& rope, bool long_context);

// Dynamic scaling's base grows with the length of the sequence, so that the slowest pair still spans all of it: at
// `length` tokens, above original_positions, a pair's frequency is that of inverse_frequencies() times
// (1 + factor (length / original_positions - 1)) to the power of its exponent here.
std::vector<float> dynamic_exponents(const Rope& rope);

// Cosines and sines, f32 [positions, frequencies]. Angles are products of f32, as in the reference implementations.
struct RotaryTables {
  Tensor cos, sin;
};
RotaryTables rotary_tables(const std::vector<float>& inverse_frequencies, double magnitude, int64_t positions);
// The rows of `b` below those of `a`.
RotaryTables stacked(const RotaryTables& a, const RotaryTables& b);

}  // namespace lathe::checkpoint
