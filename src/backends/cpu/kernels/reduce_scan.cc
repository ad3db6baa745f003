// The walks along an axis that keep a state: positions of extremes and running sums.
#include <array>
#include <cmath>

#include "backends/cpu/kernels/reduce.h"

namespace lathe::cpu {
namespace {

// Columns handled together: neighbours in memory, so each step along the axis reads whole cache lines.
constexpr int64_t kColumns = 64;

// Calls body(first element, columns) for each block of columns.
template <class Body>
void for_each_block(ThreadTeam& team, const AxisView& view, Body body) {
  const int64_t blocks = (view.inner + kColumns - 1) / kColumns;
  team.parallel_for(view.outer * blocks, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t column = i % blocks * kColumns, left = view.inner - column;
      body(i / blocks, column, left < kColumns ? left : kColumns);
    }
  });
}

bool replaces(float x, float best, bool largest, bool last_of_equals) {
  if (std::isnan(best)) return last_of_equals && std::isnan(x);
  if (std::isnan(x)) return true;
  if (x == best) return last_of_equals;
  return largest ? x > best : x < best;
}

}  // namespace

void arg_extreme(ThreadTeam& team, const AxisView& view, bool largest, bool last_of_equals, const float* x,
                 int64_t* out) {
  for_each_block(team, view, [&](int64_t outer, int64_t column, int64_t columns) {
    const float* from = x + outer * view.axis * view.inner + column;
    int64_t* to = out + outer * view.inner + column;
    std::array<float, kColumns> best;
    for (int64_t c = 0; c < columns; ++c) {
      best[static_cast<size_t>(c)] = from[c];
      to[c] = 0;
    }
    for (int64_t a = 1; a < view.axis; ++a) {
      for (int64_t c = 0; c < columns; ++c) {
        const float value = from[a * view.inner + c];
        if (!replaces(value, best[static_cast<size_t>(c)], largest, last_of_equals)) continue;
        best[static_cast<size_t>(c)] = value;
        to[c] = a;
      }
    }
  });
}

void cumulative_sum(ThreadTeam& team, const AxisView& view, bool exclusive, bool reverse, const float* x, float* out) {
  for_each_block(team, view, [&](int64_t outer, int64_t column, int64_t columns) {
    const int64_t start = outer * view.axis * view.inner + column;
    std::array<double, kColumns> sum = {};
    for (int64_t step = 0; step < view.axis; ++step) {
      const int64_t at = start + (reverse ? view.axis - 1 - step : step) * view.inner;
      for (int64_t c = 0; c < columns; ++c) {
        double& total = sum[static_cast<size_t>(c)];
        const double before = total;
        total += static_cast<double>(x[at + c]);
        out[at + c] = static_cast<float>(exclusive ? before : total);
      }
    }
  });
}

}  // namespace lathe::cpu
