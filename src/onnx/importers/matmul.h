// Matrix product with numpy's rules, for the importers of several ops.
#pragma once

#include "onnx/importers/emitter.h"

namespace lathe::onnx {

// Operands of rank 1 and up.
Value* numpy_matmul(Emitter& emitter, Value* a, Value* b);

}  // namespace lathe::onnx
