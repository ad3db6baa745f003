// Running expression programs: for map itself and for the prologues, epilogues and score functions of other ops.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "graph/bindings.h"
#include "graph/map_program.h"
#include "graph/reference/numbers.h"
#include "graph/tensor.h"

namespace lathe::reference {

// Evaluates `program` at every index of `sizes`, to which the inputs broadcast.
Tensor run_program(const MapProgram& program, std::span<const Tensor* const> inputs, const Sizes& sizes,
                   const SymbolBindings& symbols);

// The results of one instruction for a stretch of elements. Strings are borrowed from the inputs.
using Register = std::variant<std::vector<double>, std::vector<int64_t>, std::vector<const std::string*>>;

// Evaluates an instruction with operands for a stretch of elements; `operand_type` is the type of its first operand.
// The kind of `out` fits the instruction's type and its size is the length of the stretch.
void apply_instruction(const MapInstr& instr, DType operand_type, std::span<const Register* const> operands,
                       Register& out);

}  // namespace lathe::reference
