// Kernel source to machine code, through NVRTC. Needs no GPU and no driver, so that tests compile for every
// architecture on any machine.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/api/nvrtc.h"
#include "backends/cuda/compiler/kernel_spec.h"

namespace lathe::cuda {

struct CompiledKernel {
  std::vector<char> cubin;
  bool waits = false;  // for kernels before it, as kernels/prelude.cuh says; known when it was just compiled
  // As the assembler reports them; -1 when they are not known (a kernel that was loaded, not compiled).
  int registers = -1;
  int shared_bytes = -1;
  int spill_bytes = -1;
};

class KernelCompiler {
 public:
  // `arch`: "sm_80", "sm_90a". Throws Error(unsupported) when NVRTC is missing.
  explicit KernelCompiler(std::string arch) : api_(NvrtcApi::open()), arch_(std::move(arch)) {}

  const std::string& arch() const { return arch_; }
  std::string version() const;  // of NVRTC, "13.0"

  // Safe to call from several threads. Throws Error(internal) with the compiler's messages when the source has errors.
  CompiledKernel compile(const KernelSpec& spec) const;

 private:
  std::shared_ptr<const NvrtcApi> api_;
  std::string arch_;
};

}  // namespace lathe::cuda
