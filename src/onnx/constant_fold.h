// Evaluates small constant subexpressions at import, for importers that need an operand's elements (axes, sizes, pads)
// which the model computes from constants. Folding for its own sake is a later pass.
#pragma once

#include <optional>

#include "graph/graph.h"

namespace lathe::onnx {

// The elements of `value` when everything it depends on is constant and small; nullopt otherwise.
std::optional<Tensor> fold_constant(const Value* value);

}  // namespace lathe::onnx
