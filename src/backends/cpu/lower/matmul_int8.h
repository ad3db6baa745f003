// Integer products and what they share with integer convolutions.
#pragma once

#include "backends/cpu/lower/int8_epilogue.h"

namespace lathe::cpu {

inline bool is_byte(DType type) { return type == DType::u8 || type == DType::i8; }

// Whether both operands of a product or convolution are bytes.
inline bool multiplies_bytes(const Node& node) {
  return is_byte(node.input(0)->dtype()) && is_byte(node.input(1)->dtype());
}

Candidates lower_int8(const lathe::MatMul& op, const Node& node, const Target& target);
Candidates lower_int8(const lathe::Conv& op, const Node& node, const Target& target);

// The epilogue of an integer product: the kernel's form, or a map over the stored sums where that cannot say it.
class Int8Finisher {
 public:
  Int8Finisher(const MapProgram& program, const std::function<Extent(int)>& extent_of, const MapKernels& kernels);
  static std::string why_not(const MapProgram& program, const MapKernels& kernels);

  struct State {
    Int8EpilogueCode::State form;
    std::unique_ptr<MapPlan> plan;
  };
  State prepare(const StepIo& io, int64_t rows, int64_t columns) const;
  struct Memory {
    Int8EpilogueCode::Memory form;
    std::byte *sums = nullptr, *scratch = nullptr;
  };
  Memory cut(Workspace& workspace, const StepIo& io, int64_t rows, int64_t columns) const;
  // The kernel's epilogue, c included.
  Int8Epilogue begin(const StepIo& io, const State& state, const Memory& memory, int64_t rows, int64_t columns) const;
  // After the product.
  void end(const StepIo& io, const State& state, const Memory& memory, ThreadTeam& team) const;

 private:
  std::unique_ptr<Int8EpilogueCode> form_;
  std::unique_ptr<MapCode> program_;  // without a form
};

}  // namespace lathe::cpu
