// The softmax of one row, for softmax and attention.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

namespace lathe::reference {

// In place. A row of -inf gives NaN, or zeros if `safe`; a NaN or +inf anywhere gives NaN, as the formula does.
inline void softmax_row(std::span<double> row, bool log, bool safe) {
  double largest = -std::numeric_limits<double>::infinity();
  for (const double x : row) largest = std::isnan(largest) || x < largest ? largest : x;
  if (safe && largest == -std::numeric_limits<double>::infinity()) return std::fill(row.begin(), row.end(), 0.0);
  double sum = 0;
  for (const double x : row) sum += std::exp(x - largest);
  for (double& x : row) x = log ? x - largest - std::log(sum) : std::exp(x - largest) / sum;
}

}  // namespace lathe::reference
