// The operations of expression programs (map_program.h), apart from everything else: kernel sources, which may not use
// C++ library code, include this alone.
#pragma once

#include <cstdint>

namespace lathe {

enum class MapOp : uint8_t {
  // leaves
  input,     // args[0] = which input
  constant,  // real (floats) or integer (integers and bool)
  iota,      // index of the output element along axis args[0] (negative, from the last axis)
  dim,       // dims[args[0]]
  // unary
  cast,      // to `type`: floats to integers truncate and wrap like ONNX (out of range is unspecified, here saturated)
  cast_sat,  // to `type`, saturating (8-bit floats: to the largest finite value)
  neg,
  abs,
  sign,
  logical_not,
  bit_not,
  floor,
  ceil,
  round,
  trunc,
  sqrt,
  reciprocal,
  exp,
  log,
  expm1,
  log1p,
  sin,
  cos,
  tan,
  asin,
  acos,
  atan,
  sinh,
  cosh,
  asinh,
  acosh,
  atanh,
  tanh,
  erf,
  sigmoid,
  softplus,
  relu,
  silu,
  gelu_erf,
  gelu_tanh,
  mish,
  hard_swish,
  is_nan,
  is_inf,
  // binary
  add,
  sub,
  mul,
  div,        // integer div truncates toward zero
  floor_mod,  // sign of the divisor (Python %)
  trunc_mod,  // sign of the dividend (C %, fmod)
  pow,
  min,
  max,
  atan2,
  logical_and,
  logical_or,
  logical_xor,
  bit_and,
  bit_or,
  bit_xor,
  shift_left,
  shift_right,
  eq,
  ne,
  lt,
  le,
  gt,
  ge,
  // ternary
  select,  // args[0] ? args[1] : args[2]
};
inline constexpr int kMapOpCount = static_cast<int>(MapOp::select) + 1;

}  // namespace lathe
