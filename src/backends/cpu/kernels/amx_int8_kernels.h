// Products of bytes in matrix tiles (AMX): single-threaded parts with the exact sums of those in gemm_int8_kernels.h
// and matmul_nbits_kernels.h, on the same packed weights, for many rows.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/matmul_nbits_kernels.h"

namespace lathe::cpu {

inline constexpr int kAmxLeastRows = 16, kAmxRows = 32;  // of a block
inline constexpr int64_t kAmxDepth = 64;                 // bytes of one product of tiles

// out[i][j] = sum over l < k of a[i * lda + l] * panel(l, j), u8 times s8; k is a multiple of four.
struct AmxProduct {
  const uint8_t* a;
  int64_t lda;
  int rows;  // kAmxLeastRows to kAmxRows
  int64_t k;
  const int8_t* panel;   // as in gemm_int8_kernels.h
  int32_t* out;          // [rows][nr]
  const char* prefetch;  // advanced by prefetch_step bytes per kAmxDepth and touched into L2; may be null
  int64_t prefetch_step;
};

// As NBitsTile, for kAmxRows rows, of which some may hold anything: `a` holds the steps of NBitsShape, each padded with
// zeros to a multiple of kAmxDepth terms, as [term / kAmxDepth][2][16][kAmxDepth]; `scales` and `sums` are
// [step][kAmxRows]. Weights are bytes; up to kAmxDepth terms behind their end are read.
struct AmxNBitsTile {
  const int8_t* a;
  const float* scales;
  const int32_t* sums;
  float* out;  // [kAmxRows][nr]
  int rows;
  const char* prefetch;  // as in AmxProduct
  int64_t prefetch_step;
};

struct AmxInt8Kernels {
  // Around any number of products, on the thread that computes them.
  void (*begin)() noexcept;
  void (*end)() noexcept;
  void (*product)(const AmxProduct& product) noexcept;
  void (*rounded)(const NBitsPanel& panel, const AmxNBitsTile& tile) noexcept;
  // Octets of nibbles, as matmul_nbits_kernels.h describes them, to octets of bytes.
  void (*unpack)(const uint8_t* nibbles, int64_t octets, uint8_t* bytes) noexcept;
};

}  // namespace lathe::cpu
