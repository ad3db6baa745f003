// Loops of the map interpreter. The float operations that networks spend time in use Vec; the rest are plain loops that
// the compiler vectorises where it can. Semantics: graph/map_program.h.
#include "backends/cpu/kernels/map_kernels.h"

#include "backends/cpu/kernels/map_scalar.h"
#include "backends/cpu/kernels/vec_math.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

// ---- float through Vec ----

template <class F>
void vec_unary(void* out, const void* a, const void*, const void*, int64_t n) noexcept {
  auto* y = static_cast<float*>(out);
  const auto* x = static_cast<const float*>(a);
  int64_t i = 0;
  for (; i + kVecWidth <= n; i += kVecWidth) store(y + i, F::apply(load(x + i)));
  if (i < n) store_n(y + i, F::apply(load_n(x + i, static_cast<int>(n - i))), static_cast<int>(n - i));
}

template <class F>
void vec_binary(void* out, const void* a, const void* b, const void*, int64_t n) noexcept {
  auto* y = static_cast<float*>(out);
  const auto* x0 = static_cast<const float*>(a);
  const auto* x1 = static_cast<const float*>(b);
  int64_t i = 0;
  for (; i + kVecWidth <= n; i += kVecWidth) store(y + i, F::apply(load(x0 + i), load(x1 + i)));
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    store_n(y + i, F::apply(load_n(x0 + i, rest), load_n(x1 + i, rest)), rest);
  }
}

#define LATHE_VEC_UNARY(Name, expression)          \
  struct Name {                                    \
    static Vec apply(Vec x) { return expression; } \
  };
LATHE_VEC_UNARY(VecNeg, -x)
LATHE_VEC_UNARY(VecAbs, abs(x))
LATHE_VEC_UNARY(VecFloor, floor(x))
LATHE_VEC_UNARY(VecCeil, ceil(x))
LATHE_VEC_UNARY(VecRound, round_even(x))
LATHE_VEC_UNARY(VecTrunc, trunc(x))
LATHE_VEC_UNARY(VecSqrt, sqrt(x))
LATHE_VEC_UNARY(VecReciprocal, splat(1.0f) / x)
LATHE_VEC_UNARY(VecExp, exp(x))
LATHE_VEC_UNARY(VecTanh, tanh(x))
LATHE_VEC_UNARY(VecErf, erf(x))
LATHE_VEC_UNARY(VecSigmoid, sigmoid(x))
LATHE_VEC_UNARY(VecRelu, max(zero(), x))
LATHE_VEC_UNARY(VecSilu, x* sigmoid(x))
LATHE_VEC_UNARY(VecGeluErf, gelu_erf(x))
LATHE_VEC_UNARY(VecGeluTanh, gelu_tanh(x))
LATHE_VEC_UNARY(VecHardSwish, x* clamp(fma(x, splat(1.0f / 6.0f), splat(0.5f)), 0.0f, 1.0f))
#undef LATHE_VEC_UNARY

#define LATHE_VEC_BINARY(Name, expression)                \
  struct Name {                                           \
    static Vec apply(Vec a, Vec b) { return expression; } \
  };
LATHE_VEC_BINARY(VecAdd, a + b)
LATHE_VEC_BINARY(VecSub, a - b)
LATHE_VEC_BINARY(VecMul, a* b)
LATHE_VEC_BINARY(VecDiv, a / b)
// Vec's own min and max give b when either is NaN; here a NaN in a must come through as well.
LATHE_VEC_BINARY(VecMin, select(is_nan(a), a, min(a, b)))
LATHE_VEC_BINARY(VecMax, select(is_nan(a), a, max(a, b)))
#undef LATHE_VEC_BINARY

MapFn find_vec(MapOp op) noexcept {
  switch (op) {
    case MapOp::neg: return vec_unary<VecNeg>;
    case MapOp::abs: return vec_unary<VecAbs>;
    case MapOp::floor: return vec_unary<VecFloor>;
    case MapOp::ceil: return vec_unary<VecCeil>;
    case MapOp::round: return vec_unary<VecRound>;
    case MapOp::trunc: return vec_unary<VecTrunc>;
    case MapOp::sqrt: return vec_unary<VecSqrt>;
    case MapOp::reciprocal: return vec_unary<VecReciprocal>;
    case MapOp::exp: return vec_unary<VecExp>;
    case MapOp::tanh: return vec_unary<VecTanh>;
    case MapOp::erf: return vec_unary<VecErf>;
    case MapOp::sigmoid: return vec_unary<VecSigmoid>;
    case MapOp::relu: return vec_unary<VecRelu>;
    case MapOp::silu: return vec_unary<VecSilu>;
    case MapOp::gelu_erf: return vec_unary<VecGeluErf>;
    case MapOp::gelu_tanh: return vec_unary<VecGeluTanh>;
    case MapOp::hard_swish: return vec_unary<VecHardSwish>;
    case MapOp::add: return vec_binary<VecAdd>;
    case MapOp::sub: return vec_binary<VecSub>;
    case MapOp::mul: return vec_binary<VecMul>;
    case MapOp::div: return vec_binary<VecDiv>;
    case MapOp::min: return vec_binary<VecMin>;
    case MapOp::max: return vec_binary<VecMax>;
    default: return nullptr;
  }
}

// ---- everything else: plain loops over the scalar operations of map_scalar.h ----

template <MapOp op, class T>
void scalar_loop(void* out, const void* a, const void* b, const void* c, int64_t n) noexcept {
  using R = MapResult<op, T>;
  auto* y = static_cast<R*>(out);
  if constexpr (op == MapOp::select) {
    const auto* condition = static_cast<const uint8_t*>(a);
    const auto* yes = static_cast<const T*>(b);
    const auto* no = static_cast<const T*>(c);
    for (int64_t i = 0; i < n; ++i) y[i] = condition[i] != 0 ? yes[i] : no[i];
  } else if constexpr (is_binary_map_op(op)) {
    const auto* x0 = static_cast<const T*>(a);
    const auto* x1 = static_cast<const T*>(b);
    for (int64_t i = 0; i < n; ++i) y[i] = apply_map_op<op>(x0[i], x1[i]);
  } else {
    const auto* x = static_cast<const T*>(a);
    for (int64_t i = 0; i < n; ++i) y[i] = apply_map_op<op>(x[i]);
  }
}

template <class T, int index = static_cast<int>(MapOp::neg)>
MapFn find_scalar(MapOp op) noexcept {
  if constexpr (index == kMapOpCount) {
    return nullptr;
  } else {
    constexpr MapOp candidate = static_cast<MapOp>(index);
    if constexpr (map_op_takes<candidate, T>()) {
      if (op == candidate) return scalar_loop<candidate, T>;
    }
    return find_scalar<T, index + 1>(op);
  }
}

MapFn find(MapOp op, DType type) noexcept {
  switch (type) {
    case DType::f32:
    case DType::f16:
    case DType::bf16: {
      const MapFn vec = find_vec(op);
      return vec != nullptr ? vec : find_scalar<float>(op);
    }
    case DType::f64: return find_scalar<double>(op);
    case DType::i64: return find_scalar<int64_t>(op);
    case DType::i32: return find_scalar<int32_t>(op);
    case DType::i16: return find_scalar<int16_t>(op);
    case DType::i8: return find_scalar<int8_t>(op);
    case DType::u64: return find_scalar<uint64_t>(op);
    case DType::u32: return find_scalar<uint32_t>(op);
    case DType::u16: return find_scalar<uint16_t>(op);
    case DType::u8: return find_scalar<uint8_t>(op);
    case DType::boolean: return find_scalar<MapBool>(op);
    default: return nullptr;
  }
}

// ---- conversions ----

template <class From, class To, bool saturate>
void convert_loop(void* out, const void* a, const void*, const void*, int64_t n) noexcept {
  auto* y = static_cast<To*>(out);
  const auto* x = static_cast<const From*>(a);
  for (int64_t i = 0; i < n; ++i) y[i] = convert_scalar<To, saturate>(x[i]);
}

template <class From, bool saturate>
MapFn convert_from(DType to) noexcept {
  switch (to) {
    case DType::f32: return convert_loop<From, float, saturate>;
    case DType::f64: return convert_loop<From, double, saturate>;
    case DType::i64: return convert_loop<From, int64_t, saturate>;
    case DType::i32: return convert_loop<From, int32_t, saturate>;
    case DType::i16: return convert_loop<From, int16_t, saturate>;
    case DType::i8: return convert_loop<From, int8_t, saturate>;
    case DType::u64: return convert_loop<From, uint64_t, saturate>;
    case DType::u32: return convert_loop<From, uint32_t, saturate>;
    case DType::u16: return convert_loop<From, uint16_t, saturate>;
    case DType::u8: return convert_loop<From, uint8_t, saturate>;
    case DType::boolean: return convert_loop<From, MapBool, saturate>;
    case DType::f16: return convert_loop<From, RoundedToHalf, saturate>;
    case DType::bf16: return convert_loop<From, RoundedToBFloat16, saturate>;
    default: return nullptr;
  }
}

template <bool saturate>
MapFn convert_any(DType from, DType to) noexcept {
  switch (from) {
    case DType::f32:
    case DType::f16:
    case DType::bf16: return convert_from<float, saturate>(to);
    case DType::f64: return convert_from<double, saturate>(to);
    case DType::i64: return convert_from<int64_t, saturate>(to);
    case DType::i32: return convert_from<int32_t, saturate>(to);
    case DType::i16: return convert_from<int16_t, saturate>(to);
    case DType::i8: return convert_from<int8_t, saturate>(to);
    case DType::u64: return convert_from<uint64_t, saturate>(to);
    case DType::u32: return convert_from<uint32_t, saturate>(to);
    case DType::u16: return convert_from<uint16_t, saturate>(to);
    case DType::u8: return convert_from<uint8_t, saturate>(to);
    case DType::boolean: return convert_from<MapBool, saturate>(to);
    default: return nullptr;
  }
}

MapFn convert(DType from, DType to, bool saturate) noexcept {
  return saturate ? convert_any<true>(from, to) : convert_any<false>(from, to);
}

template <float (*widen)(uint16_t)>
void load_16(void* out, const void* a, const void*, const void*, int64_t n) noexcept {
  auto* y = static_cast<float*>(out);
  const auto* x = static_cast<const uint16_t*>(a);
  for (int64_t i = 0; i < n; ++i) y[i] = widen(x[i]);
}

template <uint16_t (*narrow)(float)>
void store_16(void* out, const void* a, const void*, const void*, int64_t n) noexcept {
  auto* y = static_cast<uint16_t*>(out);
  const auto* x = static_cast<const float*>(a);
  for (int64_t i = 0; i < n; ++i) y[i] = narrow(x[i]);
}

MapFn find_load(DType type) noexcept {
  if (type == DType::f16) return load_16<half_to_float>;
  return type == DType::bf16 ? load_16<bfloat16_to_float> : nullptr;
}

MapFn find_store(DType type) noexcept {
  if (type == DType::f16) return store_16<float_to_half>;
  return type == DType::bf16 ? store_16<float_to_bfloat16> : nullptr;
}

}  // namespace

const MapKernels& map() {
  static constexpr MapKernels table = {find, convert, find_load, find_store};
  return table;
}

}  // namespace lathe::cpu::LATHE_ISA
