// The 8- and 4-bit float formats of ONNX: f8e4m3 (FN: no infinity, NaN = S.1111.111), f8e5m2 (IEEE-like), their FNUZ
// forms (bias one larger, no negative zero, NaN = 0x80), f8e8m0 (a power of two, NaN = 0xff) and f4e2m1 (no NaN, no
// infinity). Rounding is to nearest even, of f8e8m0 (scales, whose sign is dropped) away from zero. Source of the
// formats: the ONNX float8 and float4 technical notes and operator Cast.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace lathe {

float small_float_to_float(DType type, uint8_t bits);

// Out-of-range values become the largest finite value when `saturate`, else infinity or, where there is none, NaN.
// f4e2m1 always saturates and maps NaN to -0; f8e8m0 has neither zero nor infinity, so both are out of range.
uint8_t small_float_from_float(DType type, float value, bool saturate);

}  // namespace lathe
