// Recognises, in the epilogue program of an integer product or convolution, what its kernel can do while storing
// (Int8Finish in kernels/gemm_int8_kernels.h), and computes the vectors for it.
//
// From the sum in i32 to the result the program must be a chain: corrections that are the same for a column, or a row
// times a column; conversion to f32; scales; bias and residual; an activation; perhaps 8 bits and back and another
// residual; perhaps 8 bits. What is joined to the chain on the way may be any program of operands that are scalars, or
// vectors over rows or over columns. These parts are evaluated once per run, before the product.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "backends/cpu/kernels/gemm_int8.h"
#include "backends/cpu/lower/lower.h"
#include "backends/cpu/lower/map_step.h"
#include "backends/cpu/map_vm.h"

namespace lathe::cpu {

// Over what an operand extends; a value computed from several extends over all that they do.
enum class Extent : uint8_t { scalar = 0, row = 1, column = 2, tensor = 3, unknown = 4 };

// Indices of instructions in `program`, which is the epilogue with instructions added; -1: not there.
struct Int8Form {
  struct Bytes {  // Int8Requantize
    int scale = -1, zero = -1;
    double low = 0, high = 255;
  };
  MapProgram program;
  int col_add = -1, row_scale = -1, col_scale = -1, bias = -1;
  int row_factors[2] = {-1, -1}, col_factors[2] = {-1, -1};
  Activation activation;
  std::optional<Bytes> middle;
  int middle_scale = -1;
  int residual = -1;  // program input
  int residual_scale = -1, residual_zero = -1;
  Int8Residual residual_type = Int8Residual::none;
  bool residual_last = false;
  Activation last_activation;
  Int8Result result = Int8Result::i32;
  Bytes last;
};

// `extent_of(i)` tells about program input i (1, 2, ..). nullopt when the program is no such chain.
std::optional<Int8Form> match_int8_epilogue(const MapProgram& program, const std::function<Extent(int)>& extent_of);

// A form made ready to run. Operand i of the program is operand i + 1 of the step.
class Int8EpilogueCode {
 public:
  // nullptr when the program is no form of the kernel, or a part of it has no map kernel.
  static std::unique_ptr<Int8EpilogueCode> make(const MapProgram& program, const std::function<Extent(int)>& extent_of,
                                                const MapKernels& kernels);

  struct State {
    std::vector<std::optional<MapPlan>> plans;  // by part; none where an operand is used as it is
  };
  State prepare(const StepIo& io, int64_t rows, int64_t columns) const;
  // Memory for the vectors, cut from `workspace`; both ways of Workspace.
  struct Memory {
    std::vector<std::byte*> vectors;
    std::byte* scratch = nullptr;
  };
  Memory cut(Workspace& workspace, int64_t rows, int64_t columns) const;
  // Everything but `c`.
  Int8Epilogue evaluate(const StepIo& io, const State& state, const Memory& memory, int64_t rows,
                        int64_t columns) const;

 private:
  using Place = std::function<void(Int8Epilogue&, const void*)>;
  struct Part {
    Extent extent;                  // of its vector; scalar: one number
    int input;                      // >= 0: this operand is the vector
    std::unique_ptr<MapCode> code;  // else
    Place place;
  };
  explicit Int8EpilogueCode(Int8Form form) : form_(std::move(form)) {}
  bool add_parts(const MapKernels& kernels);
  bool add(int instruction, Extent extent, const MapKernels& kernels, Place place);
  static int64_t length(Extent extent, int64_t rows, int64_t columns) {
    return extent == Extent::row ? rows : extent == Extent::column ? columns : 1;
  }

  Int8Form form_;
  std::vector<Part> parts_;
  std::vector<Extent> input_extents_;  // by program input
};

}  // namespace lathe::cpu
