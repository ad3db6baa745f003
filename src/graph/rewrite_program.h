// A program made of another one, instruction by instruction: what most rewrites of elementwise programs are.
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "graph/map_program.h"

namespace lathe {

// How far a rewrite has got.
struct ProgramRewrite {
  MapProgram& out;             // the new program so far
  int number;                  // of the instruction of the old program whose turn it is
  MapInstr instr;              // that instruction, with operands that are indices in `out`
  std::span<const int> index;  // of what stands in `out` for each instruction before it
};

// Calls replace() for each instruction, in order: it appends what takes the instruction's place and returns the index
// of that, or nullopt where the instruction stays. What stands for the last one is the result of the new program.
MapProgram rewrite_program(const MapProgram& program,
                           const std::function<std::optional<int>(const ProgramRewrite&)>& replace);

}  // namespace lathe
