// Register tiles of a product of few rows, the decoding of a language model for one: every weight is read once, so that
// memory sets the speed. Panels are as in gemm_kernels.h, stored in f32, f16 or bf16. Single-threaded parts; gemm.h has
// the driver.
#pragma once

#include <cstdint>

namespace lathe::cpu {

// How the weights of a panel are stored; panels have `nr` columns, short ones are padded with zeros.
//   f32, f16  [k][nr]
//   bf16      [ceil(k / 2)][nr][2], rows in pairs as dot products of bf16 read them; an odd k is padded with zeros
enum class PanelType : uint8_t { f32, f16, bf16 };
inline constexpr int kPanelTypes = 3;

// out[i][j] = sum over k of a[i*lda + k] * panel(k, j), for the tile's fixed number of rows and all nr columns. Memory
// behind the panel is touched into the cache, as the next panel lies there.
struct GemmStream {
  const float* a;
  int64_t lda;
  const void* panel;
  int64_t k;
  float* out;  // [rows][nr]
};

inline constexpr int kStreamMaxRows = 8;

struct GemmStreamKernels {
  int max_rows;                                                                      // at most kStreamMaxRows
  void (*tile[kPanelTypes][kStreamMaxRows + 1])(const GemmStream& stream) noexcept;  // by number of rows, from 1
  // With one sum for each element, as GemmKernels::uniform_tile.
  void (*uniform_tile[kPanelTypes][kStreamMaxRows + 1])(const GemmStream& stream) noexcept;
  // The whole panel in f32, [k][nr].
  void (*widen[kPanelTypes])(const void* panel, int64_t k, float* out) noexcept;
};

}  // namespace lathe::cpu
