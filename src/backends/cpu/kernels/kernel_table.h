// The kernels of one instruction set, gathered by family. kernel_table(isa) is asked once, when an engine is opened or
// built; the table is passed down from there, and no kernel looks anything up.
//
// A family is one struct of function pointers in <family>_kernels.h, filled in by <family>_kernels.cc, which is
// compiled once per ISA. A new family adds a line to LATHE_CPU_KERNEL_FAMILIES and its sources to CMakeLists.txt.
#pragma once

#include "base/cpu_features.h"

// X(Type, member): Type is the family's struct, and `const Type& member()` is defined in each namespace
// lathe::cpu::<isa>.
#define LATHE_CPU_KERNEL_FAMILIES(X)        \
  X(GemmKernels, gemm)                      \
  X(GemmNarrowKernels, gemm_narrow)         \
  X(GemmStreamKernels, gemm_stream)         \
  X(GemmBf16Kernels, gemm_bf16)             \
  X(Int8Kernels, int8)                      \
  X(QuantizeKernels, quantize)              \
  X(ConvKernels, conv)                      \
  X(DepthwiseKernels, depthwise)            \
  X(ReduceKernels, reduce)                  \
  X(PoolKernels, pool)                      \
  X(TransposeKernels, transpose)            \
  X(NormKernels, norm)                      \
  X(SoftmaxKernels, softmax)                \
  X(EmbeddingKernels, embedding)            \
  X(AttentionKernels, attention)            \
  X(PagedAttentionKernels, paged_attention) \
  X(RotaryKernels, rotary)                  \
  X(ProbeKernels, probe)                    \
  X(TopKKernels, top_k)                     \
  X(NmsKernels, nms)                        \
  X(RnnKernels, rnn)                        \
  X(VecMathKernels, vec_math)               \
  X(MapKernels, map)

namespace lathe::cpu {

#define LATHE_DECLARE(Type, member) struct Type;
LATHE_CPU_KERNEL_FAMILIES(LATHE_DECLARE)
#undef LATHE_DECLARE

struct KernelTable {
  Isa isa;
#define LATHE_DECLARE(Type, member) const Type& member;
  LATHE_CPU_KERNEL_FAMILIES(LATHE_DECLARE)
#undef LATHE_DECLARE
};

const KernelTable& kernel_table(Isa isa);

}  // namespace lathe::cpu
