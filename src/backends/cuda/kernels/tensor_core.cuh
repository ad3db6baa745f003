// Tensor cores through mma.sync m16n8k16 (sm_80 and newer) for f16 and bf16 with f32 sums, and the asynchronous copies
// that feed them.
#pragma once

#include "prelude.cuh"

// Copies 16 bytes to shared memory in the background, or fills them with zeros.
inline __device__ void copy_16(u32 to, const void* from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(inside ? 16 : 0));
}
inline __device__ void copy_16(void* to, const void* from, bool inside) { copy_16(shared_address(to), from, inside); }
inline __device__ void end_of_copies() { asm volatile("cp.async.commit_group;"); }
// Waits until all but the last N groups of copies have arrived.
template <int N>
inline __device__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N));
}

template <bool TRANSPOSED>
inline __device__ void load_matrices_at(u32 (&r)[4], u32 from) {
  if constexpr (TRANSPOSED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from));
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from));
}

#define MMA(type)                                                                     \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type                 \
               ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                       \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
inline __device__ void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1, f16) { MMA("f16"); }
inline __device__ void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1, bf16) { MMA("bf16"); }
#undef MMA
