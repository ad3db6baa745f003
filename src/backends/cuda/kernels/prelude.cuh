// What every kernel source starts with: fixed-width integers, the narrow float types, vector loads and stores, warp
// and block reductions. No header of CUDA is included, so that kernels compile where only NVRTC is installed.
#pragma once

using i8 = signed char;
using u8 = unsigned char;
using i16 = short;
using u16 = unsigned short;
using i32 = int;
using u32 = unsigned;
using i64 = long long;
using u64 = unsigned long long;

constexpr int kWarp = 32;
#define FULL_MASK 0xffffffffu

// ---- kernels: each starts while those before it are still at work ----
//
// From sm_90 on kernels are launched by "programmatic dependent launch": when the last blocks of a kernel have started,
// those of the next take what places are free, so that their launch and what they can do ahead (barriers, weights) cost
// no time. Until await_kernels_before() has returned they touch nothing but constants of the model, which no kernel
// writes; and, behind a kernel that lets the next one start only after it has waited itself, what all before that one
// wrote, which is complete then (paged_attention.cu). This is safe because every thread of every kernel waits there, on every path:
//   - the wait ends when the kernel before is complete and what it wrote is seen; as it has waited itself, the same
//     holds for all before it. So there are no hazards of any kind between memory that kernels read and write.
//   - kernels of libraries, copies and fills are launched in the ordinary way: they start when the kernel before is
//     complete, and what is launched after them waits for them like for any other.
//   - blocks that wait never keep out those that they wait for, as these have all started before.
// Kernels are defined by KERNEL, which waits; kernel_compile_test finds those that do not.

inline __device__ void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
inline __device__ void await_kernels_before() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Asks for the cache line with an address to come to L2. That is right even before a kernel may read it: whatever is
// written later is written there.
inline __device__ void bring_to_l2(const void* line) { asm volatile("prefetch.global.L2 [%0];" ::"l"(line)); }

// KERNEL(threads of a block, type of `args`) { body }. A PATIENT_KERNEL calls PREPARE(args) before it waits, and lets the
// next one start only after that, unless PREPARE has.
#define KERNEL_OF(BEFORE_WAIT, AFTER_WAIT, THREADS_OF_BLOCK, ARGS)                                                     \
  inline __device__ void body_of_kernel(const ARGS& args);                                                             \
  extern "C" __global__ void __launch_bounds__(THREADS_OF_BLOCK) ENTRY(const __grid_constant__ ARGS args) {            \
    BEFORE_WAIT;                                                                                                       \
    await_kernels_before();                                                                                            \
    AFTER_WAIT;                                                                                                        \
    body_of_kernel(args);                                                                                              \
  }                                                                                                                    \
  __forceinline__ __device__ void body_of_kernel(const ARGS& args)
#define KERNEL(THREADS_OF_BLOCK, ARGS) KERNEL_OF(let_next_kernel_start(), , THREADS_OF_BLOCK, ARGS)
#define PATIENT_KERNEL(PREPARE, THREADS_OF_BLOCK, ARGS)                                                                \
  KERNEL_OF(PREPARE(args), let_next_kernel_start(), THREADS_OF_BLOCK, ARGS)

// ---- narrow floats: storage types; arithmetic is in float ----

struct f16 {
  u16 bits;
};
struct bf16 {
  u16 bits;
};

struct e4m3 {  // 4 bits of exponent, 3 of mantissa; for quantised values alone
  u8 bits;
};

inline __device__ float to_float(float x) { return x; }
inline __device__ float to_float(f16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
inline __device__ float to_float(bf16 x) { return __uint_as_float(static_cast<u32>(x.bits) << 16); }

// Round to nearest even.
template <class T>
__device__ T from_float(float x);
template <>
inline __device__ float from_float<float>(float x) {
  return x;
}
template <>
inline __device__ double from_float<double>(float x) {
  return x;
}
template <>
inline __device__ f16 from_float<f16>(float x) {
  f16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
template <>
inline __device__ bf16 from_float<bf16>(float x) {
  bf16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}

// Round to nearest even; what is too large becomes the largest finite number.
inline __device__ e4m3 to_e4m3(float x) {
#if __CUDA_ARCH__ >= 890
  u16 pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
  return {static_cast<u8>(pair)};
#else
  const u32 sign = __float_as_uint(x) >> 24 & 0x80;
  if (x != x) return {static_cast<u8>(sign | 0x7f)};
  const float size = fminf(fabsf(x), 448.0f);
  if (size < 0.015625f) return {static_cast<u8>(sign | u32(rint(size * 512)))};  // without an exponent: multiples of 1/512
  const u32 bits = __float_as_uint(size), rounded = bits + 0x7ffff + (bits >> 20 & 1);
  return {static_cast<u8>(sign | ((rounded >> 20) - (120 << 3)))};
#endif
}

// ---- the type in which elements of a storage type are computed with ----

template <class T>
struct RegisterOf {
  using type = T;
};
template <>
struct RegisterOf<f16> {
  using type = float;
};
template <>
struct RegisterOf<bf16> {
  using type = float;
};
template <class T>
using Register = typename RegisterOf<T>::type;

template <class T>
inline __device__ T to_register(T x) {
  return x;
}
inline __device__ float to_register(f16 x) { return to_float(x); }
inline __device__ float to_register(bf16 x) { return to_float(x); }

template <class T>
struct FromRegister {
  static __device__ T convert(T x) { return x; }
};
template <>
struct FromRegister<f16> {
  static __device__ f16 convert(float x) { return from_float<f16>(x); }
};
template <>
struct FromRegister<bf16> {
  static __device__ bf16 convert(float x) { return from_float<bf16>(x); }
};
template <class T>
inline __device__ T from_register(Register<T> x) {
  return FromRegister<T>::convert(x);
}

// ---- N elements that travel together: one load or store of up to 16 bytes ----

template <class T, int N>
struct alignas(sizeof(T) * N > 16 ? 16 : sizeof(T) * N) Pack {
  T values[N];
  __device__ T& operator[](int i) { return values[i]; }
  __device__ const T& operator[](int i) const { return values[i]; }
};

template <int N, class T>
inline __device__ Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}
template <int N, class T>
inline __device__ void store_pack(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// Where something lies in shared memory, as instructions for shared memory take it.
inline __device__ u32 shared_address(const void* pointer) {
  return static_cast<u32>(__cvta_generic_to_shared(pointer));
}
// Two, four or eight bytes.
template <class T, int N>
inline __device__ void store_to_shared(u32 to, const Pack<T, N>& pack) {
  constexpr int kBytes = sizeof(T) * N;
  static_assert(kBytes == 2 || kBytes == 4 || kBytes == 8);
  if constexpr (kBytes == 2)
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(to), "h"(*reinterpret_cast<const u16*>(&pack)));
  else if constexpr (kBytes == 4)
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(to), "r"(*reinterpret_cast<const u32*>(&pack)));
  else
    asm volatile("st.shared.u64 [%0], %1;" ::"r"(to), "l"(*reinterpret_cast<const u64*>(&pack)));
}

// ---- reductions: every thread gets the result ----

struct Sum {
  static __device__ float identity() { return 0; }
  template <class T>
  static __device__ T combine(T a, T b) {
    return a + b;
  }
};
struct Max {  // NaN propagates
  static __device__ float identity() { return __int_as_float(0xff800000); }
  template <class T>
  static __device__ T combine(T a, T b) {
    return a != a ? a : (b != b ? b : (a > b ? a : b));
  }
};

// Of i64 where `wide`, else of i32.
inline __device__ i64 read_index(const void* indices, int wide, u64 i) {
  return wide ? static_cast<const i64*>(indices)[i] : static_cast<const i32*>(indices)[i];
}

// Inclusive, over the lanes of a warp.
template <class T>
inline __device__ T warp_prefix_sum(T x) {
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const T before = __shfl_up_sync(FULL_MASK, x, distance);
    if (threadIdx.x % kWarp >= distance) x += before;
  }
  return x;
}

template <class Op, class T>
inline __device__ T warp_reduce(T x) {
#pragma unroll
  for (int lane = kWarp / 2; lane > 0; lane /= 2) x = Op::combine(x, __shfl_xor_sync(FULL_MASK, x, lane));
  return x;
}

// `scratch` holds one element per warp, and may be used again after the next barrier.
template <class Op, class T>
inline __device__ T block_reduce(T x, T* scratch) {
  const int warps = (blockDim.x + kWarp - 1) / kWarp;
  x = warp_reduce<Op>(x);
  if (warps == 1) return x;
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = x;
  __syncthreads();
  x = threadIdx.x % kWarp < warps ? scratch[threadIdx.x % kWarp] : T(Op::identity());
  return warp_reduce<Op>(x);
}
