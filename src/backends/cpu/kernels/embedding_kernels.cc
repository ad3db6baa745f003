#include "backends/cpu/kernels/embedding_kernels.h"

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

// Null when the id is out of range.
const float* table_row(const EmbeddingTable& table, int64_t row, int64_t n) {
  int64_t id = table.first + row % table.period;
  if (table.ids32 != nullptr) id = table.ids32[row];
  if (table.ids64 != nullptr) id = table.ids64[row];
  if (id < 0) id += table.table_rows;
  return id < 0 || id >= table.table_rows ? nullptr : table.data + id * n;
}

bool gather_sum(const EmbeddingSum& p, int64_t row_begin, int64_t row_end) noexcept {
  for (int64_t row = row_begin; row < row_end; ++row) {
    const float* parts[kMaxEmbeddingTables];
    for (int t = 0; t < p.table_count; ++t) {
      parts[t] = table_row(p.tables[t], row, p.n);
      if (parts[t] == nullptr) return false;
    }
    float* y = p.y + row * p.ldy;
    for_each_vec(0, p.n, [&](int64_t i, int lanes) {
      Vec sum = zero();
      for (int t = 0; t < p.table_count; ++t) sum = sum + load_lanes(parts[t] + i, lanes);
      store_lanes(y + i, sum, lanes);
    });
  }
  return true;
}

constexpr EmbeddingKernels kKernels = {gather_sum};

}  // namespace

const EmbeddingKernels& embedding() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
