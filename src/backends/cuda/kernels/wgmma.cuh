// The matrix instructions of a Hopper warpgroup (wgmma, sm_90a): 64 rows by N columns of sums in registers, N = 64, 80,
// 96, 128, 192 or 256, the factors in shared memory in lines of 128 bytes, swizzled as the copy engine lays them (128-byte mode),
// the left one also in registers. They run in the background between start_products() and wait_for_products().
//
// sums[n][0..3] of a thread are results of columns 8 n + 2 (lane % 4) and the next, in row lane / 4 of the warp's 16,
// and the same in the row 8 further down.
#pragma once

#include "prelude.cuh"

// ---- what a tile is to the instructions ----

// Lines run along the terms: 64 halves or 128 bytes of each row or column. Further terms of the line are
// further bytes of the address, 32 for each instruction.
inline __device__ u64 describe_along_terms(u32 address) {
  return u64((address & 0x3ffff) >> 4) | u64(1) << 16 | u64(1024 >> 4) << 32 | u64(1) << 62;
}
// Lines run along the results, one for each term, 64 halves of them; `next` bytes lie between one 64 and the next.
inline __device__ u64 describe_along_results(u32 address, u32 next) {
  return u64((address & 0x3ffff) >> 4) | u64(next >> 4) << 16 | u64(1024 >> 4) << 32 | u64(1) << 62;
}

// ---- order ----

inline __device__ void start_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
inline __device__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits for all but the last LEFT groups.
template <int LEFT>
inline __device__ void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}
// Keeps the compiler from moving accesses of sums across waits.
template <int N>
inline __device__ void pin(float (&sums)[N][4]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+f"(sums[n][i])::"memory");
}
template <int N>
inline __device__ void pin(i32 (&sums)[N][4]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+r"(sums[n][i])::"memory");
}

// ---- products ----

#define SUMS_1(c, n) c(sums[n][0]), c(sums[n][1]), c(sums[n][2]), c(sums[n][3])
#define SUMS_8(c, n)                                                                                            \
  SUMS_1(c, n), SUMS_1(c, n + 1), SUMS_1(c, n + 2), SUMS_1(c, n + 3), SUMS_1(c, n + 4), SUMS_1(c, n + 5), \
      SUMS_1(c, n + 6), SUMS_1(c, n + 7)
#define SUMS_64(c) SUMS_8(c, 0)
#define SUMS_80(c) SUMS_64(c), SUMS_1(c, 8), SUMS_1(c, 9)
#define SUMS_96(c) SUMS_80(c), SUMS_1(c, 10), SUMS_1(c, 11)
#define SUMS_128(c) SUMS_64(c), SUMS_8(c, 8)
#define SUMS_192(c) SUMS_128(c), SUMS_8(c, 16)
#define SUMS_256(c) SUMS_192(c), SUMS_8(c, 24)

#define NAMES_64 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES_80 NAMES_64 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define NAMES_96 NAMES_80 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define NAMES_128 NAMES_96 \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NAMES_192 NAMES_128 \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define NAMES_256 NAMES_192 \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

#define FLOAT_SUM(x) "+f"(x)
#define INT_SUM(x) "+r"(x)

// `sums` = left * right, or sums += left * right if `accumulate` is not 0, of 16 terms if halves and 32 if bytes. The
// numbers are those of the operands behind the sums. SWAPPED says that lines of the right factor run along the
// results.
#define HALVES(n, type, name, o0, o1, o2, o3, o4, o5, o6)                                                       \
  template <bool SWAPPED>                                                                                        \
  inline __device__ void multiply(float (&sums)[n / 8][4], u64 left, u64 right, int accumulate, type) {        \
    asm volatile("{.reg .pred add; setp.ne.b32 add, %" o2 ", 0; wgmma.mma_async.sync.aligned.m64n" #n         \
                 "k16.f32." name "." name " {" NAMES_##n "}, %" o0 ", %" o1 ", add, 1, 1, 0, %" o3 ";}"       \
                 : SUMS_##n(FLOAT_SUM)                                                                         \
                 : "l"(left), "l"(right), "r"(accumulate), "n"(SWAPPED));                                        \
  }                                                                                                            \
  template <bool SWAPPED>                                                                                        \
  inline __device__ void multiply(float (&sums)[n / 8][4], const u32 (&left)[4], u64 right, int accumulate,    \
                                  type) {                                                                      \
    asm volatile("{.reg .pred add; setp.ne.b32 add, %" o5 ", 0; wgmma.mma_async.sync.aligned.m64n" #n         \
                 "k16.f32." name "." name " {" NAMES_##n "}, {%" o0 ", %" o1 ", %" o2 ", %" o3 "}, %" o4      \
                 ", add, 1, 1, %" o6 ";}"                                                                      \
                 : SUMS_##n(FLOAT_SUM)                                                                         \
                 : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(right), "r"(accumulate),        \
                   "n"(SWAPPED));                                                                                \
  }
#define BYTES(n, sum_type, sum, left_type, right_type, name, scales, o0, o1, o2)                               \
  inline __device__ void multiply(sum_type(&sums)[n / 8][4], u64 left, u64 right, int accumulate, left_type,   \
                                  right_type) {                                                                \
    asm volatile("{.reg .pred add; setp.ne.b32 add, %" o2 ", 0; wgmma.mma_async.sync.aligned.m64n" #n         \
                 "k32." name " {" NAMES_##n "}, %" o0 ", %" o1 ", add" scales ";}"                             \
                 : SUMS_##n(sum)                                                                               \
                 : "l"(left), "l"(right), "r"(accumulate));                                                    \
  }
#define PRODUCTS(n, o0, o1, o2, o3, o4, o5, o6)                            \
  HALVES(n, f16, "f16", o0, o1, o2, o3, o4, o5, o6)                        \
  HALVES(n, bf16, "bf16", o0, o1, o2, o3, o4, o5, o6)                      \
  BYTES(n, float, FLOAT_SUM, e4m3, e4m3, "f32.e4m3.e4m3", ", 1, 1", o0, o1, o2) \
  BYTES(n, i32, INT_SUM, i8, i8, "s32.s8.s8", "", o0, o1, o2)              \
  BYTES(n, i32, INT_SUM, i8, u8, "s32.s8.u8", "", o0, o1, o2)              \
  BYTES(n, i32, INT_SUM, u8, i8, "s32.u8.s8", "", o0, o1, o2)              \
  BYTES(n, i32, INT_SUM, u8, u8, "s32.u8.u8", "", o0, o1, o2)

HALVES(80, f16, "f16", "40", "41", "42", "43", "44", "45", "46")
HALVES(80, bf16, "bf16", "40", "41", "42", "43", "44", "45", "46")
HALVES(96, f16, "f16", "48", "49", "50", "51", "52", "53", "54")
HALVES(96, bf16, "bf16", "48", "49", "50", "51", "52", "53", "54")
PRODUCTS(64, "32", "33", "34", "35", "36", "37", "38")
PRODUCTS(128, "64", "65", "66", "67", "68", "69", "70")
PRODUCTS(192, "96", "97", "98", "99", "100", "101", "102")
PRODUCTS(256, "128", "129", "130", "131", "132", "133", "134")

#undef PRODUCTS
#undef BYTES
#undef HALVES
#undef INT_SUM
#undef FLOAT_SUM
#undef NAMES_256
#undef NAMES_192
#undef NAMES_128
#undef NAMES_96
#undef NAMES_80
#undef NAMES_64
#undef SUMS_256
#undef SUMS_192
#undef SUMS_128
#undef SUMS_96
#undef SUMS_80
#undef SUMS_64
#undef SUMS_8
#undef SUMS_1
