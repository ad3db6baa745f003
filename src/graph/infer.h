// Type and shape inference: the output types of an op from its operand types. One overload per op, in ops/<family>.cc.
#pragma once

#include <span>
#include <vector>

#include "graph/op.h"
#include "graph/type.h"

namespace lathe {

class SymbolSource;

// `inputs` holds null for absent optional operands. Sizes that only the run time knows get fresh symbols from `symbols`
// (prefix "u"). Throws Error(invalid_model) that says what does not fit.
std::vector<Type> infer(const Op& op, std::span<const Type* const> inputs, size_t num_outputs, SymbolSource& symbols);

// The element types that the op's program (of a map, prologue, epilogue, score) takes, given its operands; empty for
// ops without one. Throws Error(invalid_model) where an operand that decides is missing.
std::vector<DType> program_inputs(const Op& op, std::span<const Type* const> inputs);

}  // namespace lathe
