// Products of weights in bf16 panels and activations that are rounded to bf16, summed in f32. gemm() is what multiplies
// bf16 weights by f32 activations.
#pragma once

#include "backends/cpu/kernels/gemm.h"
#include "backends/cpu/kernels/gemm_bf16_kernels.h"

namespace lathe::cpu {

// The unit of a machine with these features that multiplies bf16: by tiles (AMX) or by dot products. Null when it has
// none.
const GemmBf16Kernels* bf16_unit(const CpuFeatures& features, bool tiles);

// The unit, if there is one, that multiplies bf16 faster than kernels for f32 multiply f32. Some processors compute dot
// products of bf16 at half the rate of f32, others at twice: a short measurement tells.
const GemmBf16Kernels* fast_bf16_unit(const CpuFeatures& features, Isa isa);

int64_t gemm_bf16_workspace_bytes(const GemmBf16Kernels& unit, int64_t m, int64_t k);

// As gemm() with g.panels == PanelType::bf16.
void gemm_bf16(ThreadTeam& team, const KernelTable& kernels, const GemmBf16Kernels& unit, const Gemm& g,
               void* workspace);

}  // namespace lathe::cpu
