// Conversions between numbers and strings, for the operators that cast.
#pragma once

#include "onnx/importers/context.h"

namespace lathe::onnx {

// How a float is written: with up to 8 digits ("0.1", "1e-05"), as Cast does; or with 6 behind the point.
enum class NumberFormat { general, fixed };

// `x` as `dtype`, where one of both may be strings.
Value* converted(Context& ctx, Value* x, DType dtype, NumberFormat format);

}  // namespace lathe::onnx
