// How a product of packed panels is shared among threads; float and integer products decide alike.
#pragma once

#include <algorithm>
#include <cstdint>

namespace lathe::cpu {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A block of A of about this size stays in a core's L2 while panels of B pass by.
inline constexpr int64_t kResidentBytes = 768 * 1024;

// How many threads share the panels, and how many the rows: the split whose slowest thread has the least to do. Sharing
// panels comes first among equals, because then each part of B is read by one core only.
struct GemmSplit {
  int64_t panels, rows;
};

inline GemmSplit choose_split(int threads, int64_t m, int64_t panels, int max_rows) {
  GemmSplit best{1, 1};
  int64_t best_cost = INT64_MAX;
  for (int64_t by_panel = std::min<int64_t>(threads, panels); by_panel >= 1; --by_panel) {
    const int64_t by_row = std::min<int64_t>(threads / by_panel, ceil_div(m, max_rows));
    const int64_t rows = ceil_div(m, by_row);
    // A short tile costs almost what a taller one does, because it still reads all of B.
    const int64_t cost = ceil_div(panels, by_panel) * (rows + 2 * ceil_div(rows, max_rows));
    if (cost < best_cost) {
      best_cost = cost;
      best = {by_panel, by_row};
    }
  }
  return best;
}

}  // namespace lathe::cpu
