// Float matrix products over a thread team, with everything that follows the product done while the result is in cache.
//
//   gemm    C = epilogue(A * B), B packed ahead of time into panels (weights)
//   matmul  the same for batches in which both operands are activations; B is packed a panel at a time where that pays
//
// All matrices are row-major floats with leading dimensions and strides counted in elements; no alignment is needed.
// Any of m, n, k may be zero (k = 0 gives an all-zero product). Each output element is summed over k by one thread, so
// results are reproducible for a given number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/kernels/gemm_kernels.h"
#include "backends/cpu/kernels/gemm_stream_kernels.h"
#include "backends/cpu/kernels/kernel_table.h"
#include "base/dtype.h"
#include "base/thread_team.h"

namespace lathe::cpu {

// The rectangle of C that has just been stored.
struct GemmRegion {
  int64_t batch;  // outer * inner.count + inner in matmul, 0 in gemm
  int64_t row_begin, row_end;
  int64_t col_begin, col_end;
};

// What is stored to C: activation(alpha * AB + bias + residual), or activation(alpha * AB + bias) + residual.
struct GemmEpilogue {
  float alpha = 1.0f;
  const float* bias = nullptr;      // [n]
  const float* residual = nullptr;  // [m, n] with leading dimension ld_residual; may be C itself
  int64_t ld_residual = 0;
  bool residual_after_activation = false;
  Activation activation = {};
  float* c = nullptr;
  int64_t ldc = 0;
  // Called after each tile is stored, by the thread that stored it. Each element of C is in exactly one region.
  void (*post)(void* context, const GemmRegion& region) noexcept = nullptr;
  void* post_context = nullptr;
};

// --- Packing of B [k, n]: panels of kernels.nr columns, [ceil(n/nr)][k][nr], the last one padded with zeros; see
// PanelType for those of 16 bits. ---

int64_t panel_count(int nr, int64_t n);
int64_t packed_b_floats(int nr, int64_t k, int64_t n);
int64_t packed_b_bytes(PanelType type, int nr, int64_t k, int64_t n);

// A B anywhere in memory: element (i, j) is data[i*stride_k + j*stride_n] of type f64, f32, f16 or bf16.
// Row-major [k, n] is {data, type, n, 1}; a transposed weight [n, k] is {data, type, 1, k}.
struct SourceB {
  const void* data;
  DType type;
  int64_t stride_k, stride_n;
};

// Packs panels [panels.begin, panels.end) of B to `packed`, where panel panels.begin starts. Panels are independent: a
// builder may stream them. Throws Error(unsupported) for other types.
void pack_b(int nr, const SourceB& b, int64_t k, int64_t n, Range panels, float* packed);

// The exact inverse for all panels: out[i*stride_k + j*stride_n] = B(i, j).
void unpack_b(int nr, const float* packed, int64_t k, int64_t n, float* out, int64_t stride_k, int64_t stride_n);

// The same for panels of 16 bits, which hold the bits of a B of their own type.
void pack_half_b(PanelType type, int nr, const SourceB& b, int64_t k, int64_t n, uint16_t* packed);
void unpack_half_b(PanelType type, int nr, const uint16_t* packed, int64_t k, int64_t n, uint16_t* out,
                   int64_t stride_k, int64_t stride_n);

// --- Products. ---

struct Gemm {
  int64_t m, n, k;
  const float* a;
  int64_t lda;
  const void* packed_b;
  GemmEpilogue epilogue;
  PanelType panels = PanelType::f32;
  bool uniform = false;  // the bits of a row do not depend on how many there are, which costs some speed with few
};
// Floats of workspace that gemm() needs; zero for panels of f32.
int64_t gemm_workspace_floats(const KernelTable& kernels, const Gemm& gemm, int threads);
void gemm(ThreadTeam& team, const KernelTable& kernels, const Gemm& gemm, float* workspace = nullptr);

// One level of batching: `count` products whose operands lie `a`, `b`, ... elements apart; 0 repeats an operand.
struct MatmulBatch {
  int64_t count = 1;
  int64_t a = 0, b = 0, c = 0, residual = 0;
};

struct Matmul {
  int64_t m, n, k;
  const float* a;
  int64_t lda;
  const float* b;  // element (i, j) at b[i*stride_k + j*stride_n]
  int64_t stride_k, stride_n;
  MatmulBatch outer, inner;
  GemmEpilogue epilogue;  // bias is shared by all products
  bool uniform = false;   // as in Gemm
};
// Floats of workspace that matmul() needs; it may be zero.
int64_t matmul_workspace_floats(const GemmKernels& kernels, const Matmul& matmul, int threads);
void matmul(ThreadTeam& team, const GemmKernels& kernels, const Matmul& matmul, float* workspace);

}  // namespace lathe::cpu
