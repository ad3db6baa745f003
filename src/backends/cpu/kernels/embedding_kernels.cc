#include "backends/cpu/kernels/embedding_kernels.h"

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

constexpr int64_t kOutOfRange = -1;

int64_t table_row(const EmbeddingTable& table, int64_t row) {
  int64_t id = table.first + row % table.period;
  if (table.ids32 != nullptr) id = table.ids32[row];
  if (table.ids64 != nullptr) id = table.ids64[row];
  if (id < 0) id += table.table_rows;
  return id < 0 || id >= table.table_rows ? kOutOfRange : id;
}

template <class T>
void add_row(const T* from, float* y, int64_t n, bool first) {
  for_each_vec(0, n, [&](int64_t i, int lanes) {
    const Vec row = load_lanes(from + i, lanes);
    store_lanes(y + i, first ? row : load_lanes(y + i, lanes) + row, lanes);
  });
}

bool gather_sum(const EmbeddingSum& p, int64_t row_begin, int64_t row_end) noexcept {
  for (int64_t row = row_begin; row < row_end; ++row) {
    const int64_t wanted = p.picked == nullptr ? row : p.picked[row];
    if (p.picked != nullptr && (wanted < 0 || wanted >= p.all_rows)) return false;
    for (int t = 0; t < p.table_count; ++t) {
      const EmbeddingTable& table = p.tables[t];
      const int64_t id = table_row(table, wanted);
      if (id == kOutOfRange) return false;
      float* y = p.y + row * p.ldy;
      switch (table.type) {
        case DType::f16: add_row(static_cast<const Half*>(table.data) + id * p.n, y, p.n, t == 0); break;
        case DType::bf16: add_row(static_cast<const BFloat16*>(table.data) + id * p.n, y, p.n, t == 0); break;
        default: add_row(static_cast<const float*>(table.data) + id * p.n, y, p.n, t == 0); break;
      }
    }
  }
  return true;
}

constexpr EmbeddingKernels kKernels = {gather_sum};

}  // namespace

const EmbeddingKernels& embedding() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
