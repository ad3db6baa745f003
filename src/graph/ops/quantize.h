// Quantisation with parameters that the data decide. With parameters that are given it is a map, as is the way back.
#pragma once

#include "graph/ops/field_types.h"

namespace lathe {

// (x f32, f16 or bf16) -> q, scale f32, zero point. Axes from `axis` to the last share a scale and a zero point (axis
// 0: one for the tensor, last axis: one per token), whose shape is x's with 1 for these axes.
//   asymmetric  u8: low and high are the least and greatest of x and 0; scale = (high - low) / 255,
//               zero = round(-low / scale), as ONNX DynamicQuantizeLinear defines
//   symmetric   i8: scale = max |x| / 127, zero = 0
//   floating    f8e4m3: scale = max |x| / 448, zero = 0; q = x / scale, rounded to the nearest, halves to even
// q = saturate(round(x / scale) + zero), halves to even; the scale of zeros alone is 1. Later outputs may be left out.
// The product of q with integer weights is a MatMul whose epilogue applies scale and zero (ops/matmul.h).
struct DynamicQuantize {
  static constexpr std::string_view kName = "dynamic_quantize";
  int64_t axis = 0;
  bool symmetric = false;
  bool floating = false;  // then `symmetric` says nothing
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("axis", s.axis);
    visit("symmetric", s.symmetric);
    visit("floating", s.floating);
  }
};

}  // namespace lathe
