// Decides the blocking of a transposition: squares that stay in the first-level cache, and in them, for 4-byte
// elements, squares of 8x8 (4x4 without AVX) that are transposed in registers.
#include "backends/cpu/kernels/transpose_kernels.h"

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

constexpr int64_t kBlock = 64;

inline int64_t at_most(int64_t a, int64_t b) noexcept { return a < b ? a : b; }

template <class T>
inline void scalar_block(const T* from, int64_t ld_from, T* to, int64_t ld_to, int64_t rows, int64_t cols) noexcept {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) to[r * ld_to + c] = from[c * ld_from + r];
  }
}

#if defined(__AVX2__)
constexpr int64_t kSquare = 8;

// Three rounds exchange elements whose row and column numbers differ in one bit: 1, 2, then 4.
inline void square(const uint32_t* from, int64_t ld_from, uint32_t* to, int64_t ld_to) noexcept {
  using Row = uint32_t __attribute__((vector_size(32)));
  Row a[8], b[8];
  for (int i = 0; i < 8; ++i) __builtin_memcpy(&a[i], from + i * ld_from, sizeof(Row));
  for (int i = 0; i < 8; i += 2) {
    b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (int half = 0; half < 8; half += 4) {
    for (int i = half; i < half + 2; ++i) {
      a[i] = __builtin_shufflevector(b[i], b[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[i + 2] = __builtin_shufflevector(b[i], b[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; ++i) {
    b[i] = __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    b[i + 4] = __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
  for (int i = 0; i < 8; ++i) __builtin_memcpy(to + i * ld_to, &b[i], sizeof(Row));
}
#else
constexpr int64_t kSquare = 4;

inline void square(const uint32_t* from, int64_t ld_from, uint32_t* to, int64_t ld_to) noexcept {
  using Row = uint32_t __attribute__((vector_size(16)));
  Row a[4], b[4];
  for (int i = 0; i < 4; ++i) __builtin_memcpy(&a[i], from + i * ld_from, sizeof(Row));
  for (int i = 0; i < 4; i += 2) {
    b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 4, 2, 6);
    b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 1, 5, 3, 7);
  }
  for (int i = 0; i < 2; ++i) {
    a[i] = __builtin_shufflevector(b[i], b[i + 2], 0, 1, 4, 5);
    a[i + 2] = __builtin_shufflevector(b[i], b[i + 2], 2, 3, 6, 7);
  }
  for (int i = 0; i < 4; ++i) __builtin_memcpy(to + i * ld_to, &a[i], sizeof(Row));
}
#endif

template <class T>
inline void block(const T* from, int64_t ld_from, T* to, int64_t ld_to, int64_t rows, int64_t cols) noexcept {
  scalar_block(from, ld_from, to, ld_to, rows, cols);
}

inline void block(const uint32_t* from, int64_t ld_from, uint32_t* to, int64_t ld_to, int64_t rows,
                  int64_t cols) noexcept {
  const int64_t whole_rows = rows / kSquare * kSquare, whole_cols = cols / kSquare * kSquare;
  for (int64_t r = 0; r < whole_rows; r += kSquare) {
    for (int64_t c = 0; c < whole_cols; c += kSquare)
      square(from + c * ld_from + r, ld_from, to + r * ld_to + c, ld_to);
  }
  scalar_block(from + whole_cols * ld_from, ld_from, to + whole_cols, ld_to, whole_rows, cols - whole_cols);
  scalar_block(from + whole_rows, ld_from, to + whole_rows * ld_to, ld_to, rows - whole_rows, cols);
}

template <class T>
void transpose(const void* from, int64_t ld_from, void* to, int64_t ld_to, int64_t rows, int64_t cols) noexcept {
  const T* source = static_cast<const T*>(from);
  T* result = static_cast<T*>(to);
  for (int64_t r = 0; r < rows; r += kBlock) {
    for (int64_t c = 0; c < cols; c += kBlock) {
      block(source + c * ld_from + r, ld_from, result + r * ld_to + c, ld_to, at_most(kBlock, rows - r),
            at_most(kBlock, cols - c));
    }
  }
}

}  // namespace

const TransposeKernels& transpose() {
  static constexpr TransposeKernels kKernels = {transpose<uint8_t>, transpose<uint16_t>, transpose<uint32_t>,
                                                transpose<uint64_t>};
  return kKernels;
}

}  // namespace lathe::cpu::LATHE_ISA
