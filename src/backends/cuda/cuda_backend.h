// The CUDA backend: kernels compiled for the GPU at hand, memory on the GPU, a stream per session.
#pragma once

#include <filesystem>
#include <memory>
#include <span>

#include "backends/backend.h"

namespace lathe::cuda {

struct CudaOptions {
  int ordinal = 0;                           // which GPU
  std::filesystem::path kernel_cache = {};   // folder for compiled kernels; empty: none
  bool uniform_rows = false;                 // BackendOptions::uniform_rows
  bool tf32 = false;                         // products of f32 may round their operands to TF32, which is faster
  std::span<const std::byte> compiled = {};  // Backend::compiled_code() of before; outlives the backend
};

// Throws Error(unsupported) that says what is missing: the driver, a GPU, or the run-time compiler.
std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options);
// Works without a GPU.
std::unique_ptr<WeightPacker> make_weight_packer();

}  // namespace lathe::cuda
