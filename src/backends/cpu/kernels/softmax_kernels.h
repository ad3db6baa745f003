// Softmax and log-softmax of rows. Single-threaded part; softmax.h has the driver.
#pragma once

#include <cstdint>

namespace lathe::cpu {

// For each row: y = exp(x - max x) / sum, or with `log` y = x - max x - log(sum). A row whose every x is -infinity
// gives NaN, as the formula (and ONNX) says; with `safe` it gives 0 (-infinity with log).
struct Softmax {
  int64_t rows = 0, n = 0;
  const float* x = nullptr;
  int64_t ldx = 0;
  bool log = false;
  bool safe = false;
  float* y = nullptr;  // may be x
  int64_t ldy = 0;
};

struct SoftmaxKernels {
  void (*softmax)(const Softmax& softmax, int64_t row_begin, int64_t row_end) noexcept;
};

}  // namespace lathe::cpu
