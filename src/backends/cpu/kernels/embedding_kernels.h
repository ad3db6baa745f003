// The sum of rows gathered from several embedding tables, the first step of encoder models. Single-threaded part;
// embedding.h has the driver.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace lathe::cpu {

inline constexpr int kMaxEmbeddingTables = 4;

// One table [table_rows, n] of f32, f16 or bf16 and which of its rows each output row takes: ids32 or ids64, whichever
// is set; with neither, output row r takes table row first + r % period (positions). A negative id counts from the end,
// as in ONNX Gather.
struct EmbeddingTable {
  const void* data = nullptr;
  DType type = DType::f32;
  int64_t table_rows = 0;
  const int32_t* ids32 = nullptr;
  const int64_t* ids64 = nullptr;
  int64_t first = 0, period = 1;
};

// y[r] = sum over tables of table[id of r], or, where rows are picked, of picked[r], one of `all_rows`.
struct EmbeddingSum {
  int64_t rows = 0, n = 0;
  int table_count = 0;
  EmbeddingTable tables[kMaxEmbeddingTables];
  float* y = nullptr;
  int64_t ldy = 0;
  const int32_t* picked = nullptr;
  int64_t all_rows = 0;
};

struct EmbeddingKernels {
  // False when an id is out of range; rows before it are written, nothing outside the tables is read.
  bool (*gather_sum)(const EmbeddingSum& sum, int64_t row_begin, int64_t row_end) noexcept;
};

}  // namespace lathe::cpu
