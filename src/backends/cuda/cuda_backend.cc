#include "backends/cuda/cuda_backend.h"

#include "backends/channels_last.h"
#include "backends/cuda/lift_constants.h"
#include "backends/cuda/lower/lower.h"
#include "backends/cuda/quantised_norms.h"
#include "backends/cuda/separate_pads.h"
#include "backends/cuda/weight_packing.h"
#include "backends/cuda/widen_operands.h"
#include "backends/widen_nbits.h"

namespace lathe::cuda {
namespace {

// Convolutions of all floats that tensor cores and cuDNN take; images are transposed, as cuDNN wants one layout.
constexpr ChannelsLastOptions kLayouts = {.halves = true, .bytes = false, .channels_first_images = false};

class CudaWeightPacker : public WeightPacker {
 public:
  size_t packed_bytes(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims) const override {
    return cuda::packed_bytes(layout, dtype, dims);
  }
  void pack(const WeightLayout& layout, const Tensor& source, std::span<std::byte> packed) const override {
    cuda::pack(layout, source, packed);
  }
  Tensor unpack(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims,
                std::span<const std::byte> packed) const override {
    return cuda::unpack(layout, dtype, dims, packed);
  }
};

class CudaBackend : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : device_(Device::open(options.ordinal)),
        kernels_(device_, options.kernel_cache, options.compiled),
        libraries_(device_),
        target_{kernels_, device_->info(), libraries_, options.tf32, options.uniform_rows} {}

  std::string_view name() const override { return "cuda"; }
  std::string target() const override { return device_->info().arch(); }
  bool host_memory() const override { return false; }
  std::vector<Candidate> candidates(const Node& node) const override { return candidates_for(node, target_); }
  void finish_lowering() const override { kernels_.build(); }
  std::vector<std::byte> compiled_code() const override { return kernels_.pack(); }
  std::unique_ptr<DeviceContext> make_context(const ContextOptions& options) const override {
    return std::make_unique<CudaContext>(device_, options);
  }
  PrecisionSupport precision_support() const override {
    PrecisionSupport support{
        .types = {DType::f16, DType::bf16, DType::i8}, .narrow_activations = true, .float8_multiple = 16};
    constexpr int kFirstWithFloat8 = 89;
    if (device_->info().major * 10 + device_->info().minor >= kFirstWithFloat8) support.types.push_back(DType::f8e4m3);
    return support;
  }
  void legalize(Graph& graph) const override {
    widen_nbits(graph, [](const MatMulNBits& op, const Node& node) { return why_not_nbits(op, node).empty(); });
    widen_operands(graph);
    use_channels_last(graph, kLayouts);
    separate_pads(graph);
    fuse_quantised_norms(graph);
    lift_constants(graph);
  }
  size_t packed_bytes(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims) const override {
    return cuda::packed_bytes(layout, dtype, dims);
  }
  void pack(const WeightLayout& layout, const Tensor& source, std::span<std::byte> packed) const override {
    cuda::pack(layout, source, packed);
  }
  Tensor unpack(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims,
                std::span<const std::byte> packed) const override {
    return cuda::unpack(layout, dtype, dims, packed);
  }

 private:
  std::shared_ptr<const Device> device_;
  mutable KernelLibrary kernels_;  // grows as nodes are lowered; safe from any thread
  Libraries libraries_;
  Target target_;
};

}  // namespace

std::unique_ptr<WeightPacker> make_weight_packer() { return std::make_unique<CudaWeightPacker>(); }

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options) {
  return std::make_unique<CudaBackend>(options);
}

}  // namespace lathe::cuda
