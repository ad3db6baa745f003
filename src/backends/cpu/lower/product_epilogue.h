// The epilogue of a float product, either as the kernel's own form or as a map over the stored result.
#pragma once

#include "backends/cpu/kernels/gemm.h"
#include "backends/cpu/lower/epilogue.h"
#include "backends/cpu/lower/lower.h"
#include "backends/cpu/lower/map_step.h"

namespace lathe::cpu {

class ProductEpilogue {
 public:
  // The program's inputs are the product and the operands of `node` from `first_extra` on.
  ProductEpilogue(const MapProgram& program, const Node& node, size_t first_extra, const MapKernels& kernels);

  GemmEpilogue kernel_form(const StepIo& io, int64_t n) const;
  // What a map over the stored result needs, and that map; nothing where the kernel's form says all.
  size_t workspace_bytes(const StepIo& io) const;
  std::unique_ptr<StepState> prepare(const StepIo& io) const;
  void apply(const StepIo& io, const StepState* state, void* workspace, ThreadTeam& team) const;

 private:
  const float* extra(const StepIo& io, int program_input) const;

  size_t first_extra_;
  EpilogueForm form_;
  std::unique_ptr<MapCode> program_;  // set when the form cannot say it
};

}  // namespace lathe::cpu
