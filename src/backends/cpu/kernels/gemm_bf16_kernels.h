// The single-threaded parts of products whose operands are both rounded to bf16 and summed in f32, by the units that
// processors have for that: dot products of pairs (AVX512-BF16) and matrix tiles (AMX). Nothing here allocates, throws
// or knows about threads; gemm_bf16.h has the driver.
//
// These units take subnormal operands for zero.
//
// Weights come as bf16 panels (gemm_stream_kernels.h). Activations come in blocks of up to max_rows rows, in an order
// that is the unit's own affair.
#pragma once

#include <cstdint>

namespace lathe::cpu {

// out[i * ldo + j] = sum over k of block(i, k) * panel(k, j), for i < rows and all nr columns; `out` has max_rows rows,
// of which those from `rows` on are left unspecified.
struct GemmBf16Tile {
  const uint16_t* block;
  const void* panel;
  int64_t k;
  float* out;
  int64_t ldo;
  int rows;
  // Memory that a later call will need, touched into L2 along the way, or as much of it as the unit finds time for;
  // unused with few rows, where the panel itself is fetched ahead.
  const char* prefetch = nullptr;
  int64_t prefetch_bytes = 0;
  // Other work of this thread, cut into slices, which a unit that works on its own meanwhile calls for between its
  // steps: `done` of `steps` are behind it. May be null, and need not be called.
  void (*between)(void* context, int64_t done, int64_t steps) noexcept = nullptr;
  void* context = nullptr;
};

inline constexpr int kMaxBf16Rows = 32;

struct GemmBf16Kernels {
  int max_rows;  // of a block, at most kMaxBf16Rows; 0 where there is no such unit
  // Elements of a block for sums of length k.
  int64_t (*block_elements)(int64_t k);
  // Rounds rows of f32 (to nearest even, NaN stays NaN) into a block.
  void (*round)(const float* a, int64_t lda, int rows, int64_t k, uint16_t* block) noexcept;
  // Rounds columns [0, cols) of a B whose element (k, n) is b[k*stride_k + n*stride_n] into one panel; the others, and
  // an odd last term's partner, are zero.
  void (*pack_panel)(const float* b, int64_t stride_k, int64_t stride_n, int64_t k, int cols, uint16_t* panel) noexcept;
  void (*tile)(const GemmBf16Tile& tile) noexcept;
  bool calls_between;  // of tiles
  // Around any number of tiles, on the thread that computes them; may be null.
  void (*begin)() noexcept;
  void (*end)() noexcept;
};

}  // namespace lathe::cpu
