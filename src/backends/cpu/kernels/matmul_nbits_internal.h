// What the drivers of products with weights of a few bits share: the one for every processor (matmul_nbits.cc) and the
// one for matrix tiles (matmul_nbits_tiles.cc).
#pragma once

#include "backends/cpu/kernels/gemm_split.h"
#include "backends/cpu/kernels/matmul_nbits.h"

namespace lathe::cpu {

inline constexpr int64_t kNBitsOctet = 8;

inline int64_t aligned(int64_t bytes) { return ceil_div(bytes, 64) * 64; }

// Calls visit(first term, terms) for each step.
template <class Visit>
void for_each_step(const NBitsShape& s, Visit visit) {
  for (int64_t begin = 0; begin < s.k; begin += s.block)
    for (int64_t term = begin, end = std::min(begin + s.block, s.k); term < end; term += s.step)
      visit(term, std::min(s.step, end - term));
}

// The terms of a row of bytes whose steps are each padded to a multiple of `unit`.
inline int64_t padded_terms(const NBitsShape& s, int64_t unit) {
  int64_t sum = 0;
  for_each_step(s, [&](int64_t, int64_t terms) { sum += ceil_div(terms, unit) * unit; });
  return sum;
}

inline int64_t count_steps(const NBitsShape& s) {
  return s.k / s.block * ceil_div(s.block, s.step) + ceil_div(s.k % s.block, s.step);
}

// What rounding makes of a step of one row, but for its bytes; `sum` is as in NBitsTile.
struct RoundedStep {
  float scale;
  int32_t sum;
};

// `bytes` has room for the next multiple of eight.
RoundedStep round_step(const MatMulNBitsKernels& kernels, const NBitsPanel& b, const float* x, int64_t terms,
                       int8_t* bytes);

// Panel i of args.b.
NBitsPanel panel_of(const MatMulNBitsArgs& args, int nr, int64_t i);

// Whether matrix tiles compute the product, and what does that.
bool uses_tiles(const MatMulNBitsArgs& args);
size_t matmul_nbits_tiles_workspace_bytes(int nr, const MatMulNBitsArgs& args, int threads);
void matmul_nbits_tiles(ThreadTeam& team, const KernelTable& kernels, const MatMulNBitsArgs& args,
                        std::byte* workspace);

}  // namespace lathe::cpu
