#include "backends/cuda/cuda_backend.h"

#include "backends/cuda/lower/lower.h"

namespace lathe::cuda {
namespace {

class CudaBackend : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : device_(Device::open(options.ordinal)),
        kernels_(device_, options.kernel_cache),
        libraries_(device_),
        target_{kernels_, device_->info(), libraries_, options.tf32} {}

  std::string_view name() const override { return "cuda"; }
  std::string target() const override { return device_->info().arch(); }
  bool host_memory() const override { return false; }
  std::vector<Candidate> candidates(const Node& node) const override { return candidates_for(node, target_); }
  void finish_lowering() const override { kernels_.build(); }
  std::unique_ptr<DeviceContext> make_context(const ContextOptions&) const override {
    return std::make_unique<CudaContext>(device_);
  }
  size_t packed_bytes(const WeightLayout& layout, DType, std::span<const int64_t>) const override { refuse(layout); }
  void pack(const WeightLayout& layout, const Tensor&, std::span<std::byte>) const override { refuse(layout); }
  Tensor unpack(const WeightLayout& layout, DType, std::span<const int64_t>,
                std::span<const std::byte>) const override {
    refuse(layout);
  }

 private:
  [[noreturn]] static void refuse(const WeightLayout& layout) {
    fail(ErrorCode::invalid_model, "CUDA kernels read plain weights only, not layout '{}'", layout.scheme);
  }

  std::shared_ptr<const Device> device_;
  mutable KernelLibrary kernels_;  // grows as nodes are lowered; safe from any thread
  Libraries libraries_;
  Target target_;
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options) {
  return std::make_unique<CudaBackend>(options);
}

}  // namespace lathe::cuda
