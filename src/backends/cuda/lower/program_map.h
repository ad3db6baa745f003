// An elementwise program over broadcast tensors as a kernel of its own: what the op Map is, and what follows a product
// whose kernel cannot compute the epilogue itself.
#pragma once

#include "backends/cuda/kernels/map_args.h"
#include "backends/cuda/lower/lower.h"
#include "backends/cuda/lower/space.h"

namespace lathe::cuda {

struct MapOperand {
  DType type = DType::f32;
  Shape shape;
};

class ProgramMap {
 public:
  // What is ready to be launched once addresses are known.
  struct Plan {
    MapArgs args{};
    const Kernel* kernel = nullptr;
    unsigned blocks = 0;
  };

  // Why a program cannot be a kernel; empty when it can.
  static std::string why_not(const MapProgram& program, const std::vector<MapOperand>& operands, const Shape& output);

  // The program must outlive this.
  ProgramMap(const MapProgram& program, const std::vector<MapOperand>& operands, const Shape& output,
             const Target& target);

  Plan plan(std::span<const std::span<const int64_t>> operands, std::span<const int64_t> output,
            const SymbolBindings& symbols) const;
  // An operand may be the output itself when elements have the same size.
  void launch(const Plan& plan, std::span<const void* const> operands, void* output, CUstream stream) const;

 private:
  bool vectorises(const MapArgs& args, size_t operands) const;
  const Kernel* request(int64_t vector, std::string_view index) const;

  const MapProgram& program_;
  const Target& target_;
  std::string code_;
  BroadcastSpace space_;
  int64_t vector_ = 1;
  const Kernel *vector_kernel_, *scalar_kernel_;
};

}  // namespace lathe::cuda
