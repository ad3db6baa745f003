// Tensor cores through mma.sync (sm_80 and newer): 16 x 8 results of 32 bytes of terms, which are f16 or bf16 with f32
// sums, bytes with i32 sums, or from sm_89 on e4m3 with f32 sums; and the asynchronous copies that feed them.
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

// c += a * b. The last two arguments only tell the types of the factors.
#define MMA(sum, place, left, right, terms, types)                                                              \
  inline __device__ void multiply_add(sum(&c)[4], const u32 (&a)[4], u32 b0, u32 b1, left, right) {             \
    asm volatile("mma.sync.aligned.m16n8" terms ".row.col." types                                               \
                 " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                             \
                 : "+" place(c[0]), "+" place(c[1]), "+" place(c[2]), "+" place(c[3])                           \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                               \
  }
MMA(float, "f", f16, f16, "k16", "f32.f16.f16.f32")
MMA(float, "f", bf16, bf16, "k16", "f32.bf16.bf16.f32")
MMA(i32, "r", i8, i8, "k32", "s32.s8.s8.s32")
MMA(i32, "r", i8, u8, "k32", "s32.s8.u8.s32")
MMA(i32, "r", u8, i8, "k32", "s32.u8.s8.s32")
MMA(i32, "r", u8, u8, "k32", "s32.u8.u8.s32")
#if __CUDA_ARCH__ >= 890
MMA(float, "f", e4m3, e4m3, "k32", "f32.e4m3.e4m3.f32")
#endif
#undef MMA
template <class T>
inline __device__ void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1, T) {
  multiply_add(c, a, b0, b1, T(), T());
}
