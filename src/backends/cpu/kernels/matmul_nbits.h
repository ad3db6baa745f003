// Products with weights of a few bits over a thread team (graph/ops/matmul_nbits.h), with everything that follows the
// product done while the result is in cache, and the packing of such weights.
//
// Rounded rows are bytes with a scale for each step, so that a product of few rows is bound by reading the weights and
// one of many by the processor's dot products of bytes. Rows that are kept are multiplied with the weights widened in
// registers while they are few, and with panels widened into the cache once they are many.
#pragma once

#include "backends/cpu/kernels/amx_int8_kernels.h"
#include "backends/cpu/kernels/gemm.h"
#include "backends/cpu/kernels/matmul_nbits_kernels.h"
#include "graph/tensor.h"

namespace lathe::cpu {

// Blocks longer than this are cut into steps: one scale of a long row would round it too coarsely.
inline constexpr int64_t kNBitsLongBlock = 256, kNBitsStep = 128;

NBitsShape nbits_shape(int64_t k, int64_t block);
int64_t nbits_blocks(int64_t k, int64_t block);

// --- Packing; see matmul_nbits_kernels.h for the layouts. ---

// Weights of `bits` (4: nibbles, which hold those of 2 bits too; 8: bytes), [n, k] along k in memory.
int64_t nbits_packed_bytes(int nr, int bits, int64_t n, const NBitsShape& shape);
void nbits_pack(int nr, int bits, const Tensor& q, const NBitsShape& shape, uint8_t* packed);
void nbits_unpack(int nr, int bits, const uint8_t* packed, const NBitsShape& shape, Tensor& q);

// Scales or zeros, [n, blocks], of elements of `bytes`; those of fewer bits than 8 become bytes. Signed integers become
// unsigned like the weights.
int64_t nbits_parameter_bytes(int nr, int bytes, int64_t n, int64_t blocks);
void nbits_pack_parameters(int nr, const Tensor& values, std::byte* packed);
void nbits_unpack_parameters(int nr, const std::byte* packed, Tensor& values);

// --- Products. ---

struct MatMulNBitsArgs {
  int64_t m, n;
  const float* a;  // [m, k] densely
  NBitsPanel b;    // all panels, one after the other
  bool nibbles;
  bool round_rows;
  GemmEpilogue epilogue;
  bool uniform = false;                   // as in Gemm
  const AmxInt8Kernels* tiles = nullptr;  // for many rounded rows, with the same results; may be null
};
size_t matmul_nbits_workspace_bytes(const KernelTable& kernels, const MatMulNBitsArgs& args, int threads);
void matmul_nbits(ThreadTeam& team, const KernelTable& kernels, const MatMulNBitsArgs& args, std::byte* workspace);

}  // namespace lathe::cpu
