// Quantisation arithmetic for the importers of several families: what a scale and a zero point mean.
#pragma once

#include "onnx/importers/context.h"

namespace lathe::onnx {

// Scale and zero point as broadcast against the quantised tensor; a null zero point is 0.
struct Quantization {
  Value* scale = nullptr;
  Value* zero_point = nullptr;
};

// (x - zero_point) * scale, computed in f32, as `to`.
Value* dequantize(Emitter& emitter, Value* x, const Quantization& q, DType to);
// round_half_even(x / scale) + zero_point, saturated to `to` (an integer type, or an 8-bit float, which has no zero
// point).
Value* quantize(Emitter& emitter, Value* x, const Quantization& q, DType to, bool saturate = true);

// round_half_even(x * ratio) + zero_point, saturated: how accumulators return to 8 bits.
Value* requantize(Emitter& emitter, Value* x, Value* ratio, Value* zero_point, DType to);

// (a - a_zero)(b - b_zero) in i32. Zero points are scalars, one per row of a ([.., M]) or one per column of b ([..,
// N]), or null. The product itself is taken on the 8-bit operands; zero points are corrected by sums of rows and
// columns.
Value* integer_matmul(Context& ctx, Value* a, Value* b, Value* a_zero, Value* b_zero);

// The sums of a tensor of bytes along one of its last two axes, in i32; the axis stays with size 1.
Value* sums_of_bytes(Context& ctx, Value* v, int64_t axis);

struct DynamicQuantization {
  Value *y, *scale, *zero_point;
};
// To u8 with the range of the whole tensor, which always includes 0.
DynamicQuantization dynamic_quantize(Emitter& emitter, Value* x);

}  // namespace lathe::onnx
