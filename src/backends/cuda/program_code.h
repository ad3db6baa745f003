// Expression programs as CUDA source: the text of program.cuh, which kernels include to compute a map, an epilogue, a
// norm's prologue or an attention score in registers.
//
// The text defines `struct Program`:
//   Output                      storage type of the result
//   Registers                   one value per input, x0 .. xn
//   read<First, N>(reader, r)   fills r[0..N) with inputs from First on: reader.load<T, N>(input) gives a Pack<T, N>
//   evaluate(r, where, i, dims) the result for element i; where.iota(axis, i) gives positions, dims the values of the
//                               program's dimension expressions
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "graph/map_program.h"

namespace lathe::cuda {

// The name of a storage type in kernel sources; empty for types that kernels do not know.
std::string_view cuda_type(DType type);

// The floats that kernels compute with, and the type of their sums and statistics.
constexpr bool computes_as_float(DType type) {
  return type == DType::f64 || type == DType::f32 || type == DType::f16 || type == DType::bf16;
}
constexpr std::string_view wide_type(DType type) { return type == DType::f64 ? "double" : "float"; }

// Why a program cannot be compiled; empty when it can.
std::string why_unsupported(const MapProgram& program, const std::vector<DType>& input_types);

// Narrow floats are computed as float. Results of their type are rounded by every instruction, as the program says, or
// only where something is stored or cast: closer to the exact result, and faster.
enum class Rounding { everywhere, when_stored };

std::string program_code(const MapProgram& program, const std::vector<DType>& input_types,
                         Rounding rounding = Rounding::everywhere);

}  // namespace lathe::cuda
