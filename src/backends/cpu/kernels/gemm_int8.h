// Integer matrix products over a thread team: bytes times bytes with exact 32-bit sums (modulo 2^32), and everything
// that follows the sum done while it is in cache.
//
// Kernels multiply u8 by s8. Other signs are converted: s8 activations and u8 weights are moved by 128, weights when
// they are packed, activations in a copy made by each call, and what that adds is taken off again through sums of
// columns (in the panels) and rows (of the copy). A depth that is no multiple of four also takes the copy.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/kernels/amx_int8_kernels.h"
#include "backends/cpu/kernels/gemm_int8_kernels.h"
#include "base/cpu_features.h"
#include "base/thread_team.h"

namespace lathe::cpu {

// What is stored to C; see Int8Finish, whose pointers these are for the whole matrix. Only what a caller decides:
// sums of rows and columns that conversion needs are added by the driver.
struct Int8Epilogue {
  const int32_t* col_add = nullptr;    // [n]
  const int32_t* row_factors[2] = {};  // [m]
  const int32_t* col_factors[2] = {};  // [n]
  const float* row_scale = nullptr;    // [m]
  const float* col_scale = nullptr;    // [n]
  const float* bias = nullptr;         // [n]
  Activation activation = {};
  bool round_trip = false;
  Int8Requantize middle = {};
  float middle_scale = 1;
  Int8Residual residual_type = Int8Residual::none;
  const void* residual = nullptr;  // [m, n] densely
  float residual_scale = 1, residual_zero = 0;
  bool residual_last = false;
  Activation last_activation = {};
  Int8Result result = Int8Result::i32;
  Int8Requantize requantize = {};
  void* c = nullptr;  // [m, n] densely
};

// --- Packing of B: bytes (k, n) at data[k*stride_k + n*stride_n]. ---

int64_t int8_panel_bytes(int nr, int64_t k);
int64_t int8_packed_bytes(int nr, int64_t k, int64_t n);
struct Int8SourceB {
  const void* data;
  bool is_signed;
  int64_t stride_k, stride_n;
};
void int8_pack(int nr, const Int8SourceB& b, int64_t k, int64_t n, int8_t* packed);
// The exact inverse; `b.data` is written.
void int8_unpack(int nr, const int8_t* packed, int64_t k, int64_t n, const Int8SourceB& b);

// --- Products. ---

// The matrix tiles of a machine with these features, for kernels of `isa`; null where there are none.
const AmxInt8Kernels* int8_tiles(const CpuFeatures& features, Isa isa);

struct GemmInt8 {
  int64_t m, n, k;
  const void* a;  // [m, k] densely
  bool a_signed, b_signed;
  const int8_t* packed_b;
  Int8Epilogue epilogue;
  const AmxInt8Kernels* tiles = nullptr;  // for many rows; may be null
};
size_t gemm_int8_workspace_bytes(const GemmInt8& gemm);
void gemm_int8(ThreadTeam& team, const Int8Kernels& kernels, const GemmInt8& gemm, std::byte* workspace);

// The same by the calling thread alone: many small products are shared by whole ones.
void gemm_int8_serial(const Int8Kernels& kernels, const GemmInt8& gemm, std::byte* workspace);

// The epilogue of a matrix whose first row is row `row` of the one that `epilogue` is for.
Int8Epilogue from_row(const Int8Epilogue& epilogue, int64_t row, int64_t columns);

// Finishes rows [row, row + rows) x columns [col, col + cols) of `epilogue` from sums; `row_add` (null: none) is that
// of the first row, `col_sums` those of the first column.
struct Int8Block {
  const int32_t* acc;
  int64_t ld_acc;
  int64_t row, rows, col, cols, ldc;
  const int32_t* row_add = nullptr;
  const int32_t* col_sums = nullptr;
  int32_t col_sum_factor = 0;
};
void finish_int8(const Int8Kernels& kernels, const Int8Epilogue& epilogue, const Int8Block& block);

}  // namespace lathe::cpu
