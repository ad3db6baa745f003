// Shape arithmetic: evaluates an ONNX node on symbolic operands.
#pragma once

#include <vector>

#include "onnx/symbolic.h"

namespace lathe::onnx {

class Context;

// The node's outputs, or nothing when the op is not one of shape arithmetic, an operand is not known, or the result
// depends on more than the symbols say (the node is then imported like any other).
std::vector<SymbolicTensor> evaluate_symbolically(Context& context);

}  // namespace lathe::onnx
