// The kernels of a backend: asked for while lowering, compiled together (in parallel, each once), kept on disk between
// processes and in plans, and loaded onto the GPU when first launched.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/compiler/kernel_compiler.h"
#include "backends/cuda/compiler/kernel_pack.h"
#include "backends/cuda/device.h"

namespace lathe::cuda {

struct Grid {
  unsigned x = 1, y = 1, z = 1;
  unsigned cluster = 1;  // blocks along x that form a cluster (sm_90); x is a multiple of it
};

// A handle that stays valid as long as the library. Compiled by KernelLibrary::build() at the latest.
class Kernel {
 public:
  explicit Kernel(KernelSpec spec) : spec_(std::move(spec)) {}

  const KernelSpec& spec() const { return spec_; }
  const CompiledKernel& compiled() const { return compiled_; }

  // Queues the kernel on a stream. Arguments are passed by value and must have the types of the entry's parameters.
  template <class... Args>
  void launch(CUstream stream, Grid grid, unsigned threads, size_t shared_bytes, const Args&... args) const {
    void* pointers[] = {const_cast<void*>(static_cast<const void*>(&args))...};
    launch_with(stream, grid, threads, shared_bytes, pointers);
  }
  // Blocks of this kernel that one multiprocessor holds at a time.
  int blocks_per_multiprocessor(int threads, size_t shared_bytes) const;

 private:
  friend class KernelLibrary;
  void launch_with(CUstream stream, Grid grid, unsigned threads, size_t shared_bytes, void** args) const;

  KernelSpec spec_;
  CompiledKernel compiled_;
  const Device* device_ = nullptr;
  CUmodule module_ = nullptr;
  CUfunction function_ = nullptr;
};

class KernelLibrary {
 public:
  // `cache_folder`: where compiled kernels are kept between processes; empty for nowhere. `packed`: what pack() gave
  // before, perhaps for another GPU, or nothing; outlives the library. Throws Error(invalid_model) when it is damaged.
  KernelLibrary(std::shared_ptr<const Device> device, std::filesystem::path cache_folder,
                std::span<const std::byte> packed = {});
  ~KernelLibrary();
  KernelLibrary(const KernelLibrary&) = delete;
  KernelLibrary& operator=(const KernelLibrary&) = delete;

  // The kernel for a spec; equal specs give the same one.
  const Kernel& request(const KernelSpec& spec);
  // Compiles and loads whatever was asked for since the last call. Throws Error(internal) when a source has errors.
  void build();

  // All kernels that were built, for plans.
  std::vector<std::byte> pack() const;

  const Device& device() const { return *device_; }

 private:
  std::filesystem::path cache_file(const Kernel& kernel) const;
  bool load_packed(Kernel& kernel) const;
  bool load_cached(Kernel& kernel) const;
  void store_cached(const Kernel& kernel) const;
  void load_module(Kernel& kernel) const;

  std::shared_ptr<const Device> device_;
  const std::filesystem::path cache_folder_;
  const KernelPack packed_;
  std::unique_ptr<KernelCompiler> compiler_;  // opened when the cache does not suffice
  mutable std::mutex mutex_;                  // of what follows: sessions ask for kernels while others run
  std::map<std::string, std::unique_ptr<Kernel>> kernels_;
  std::vector<Kernel*> pending_;
};

}  // namespace lathe::cuda
