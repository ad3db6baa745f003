#include "backends/cpu/cpu_backend.h"

#include "backends/channels_last.h"
#include "backends/cpu/cpu_context.h"
#include "backends/cpu/kernels/gemm_bf16.h"
#include "backends/cpu/kernels/gemm_int8.h"
#include "backends/cpu/legalize.h"
#include "backends/cpu/lower/lower.h"
#include "backends/cpu/packing.h"

namespace lathe::cpu {
namespace {

class CpuBackend : public Backend {
 public:
  CpuBackend(const CpuFeatures& features, Isa isa, bool uniform)
      : target_{kernel_table(isa), fast_bf16_unit(features, isa), int8_tiles(features, isa), uniform} {}

  std::string_view name() const override { return "cpu"; }
  std::string target() const override { return std::string(to_string(target_.kernels.isa)); }
  void legalize_types(Graph& graph) const override { widen_halves(graph); }
  void legalize(Graph& graph) const override {
    legalize_types(graph);
    leave_floats(graph);
    use_channels_last(graph, {});
  }
  PrecisionSupport precision_support() const override {
    return {.types = {DType::f16, DType::bf16, DType::i8}, .asymmetric_bytes = true, .quantized_convolutions = true};
  }
  std::vector<Candidate> candidates(const Node& node) const override { return candidates_for(node, target_); }
  std::unique_ptr<DeviceContext> make_context(const ContextOptions& options) const override {
    return std::make_unique<CpuContext>(options);
  }
  size_t packed_bytes(const WeightLayout& layout, DType, std::span<const int64_t> dims) const override {
    return cpu::packed_bytes(layout, dims);
  }
  void pack(const WeightLayout& layout, const Tensor& source, std::span<std::byte> packed) const override {
    cpu::pack(layout, source, packed);
  }
  Tensor unpack(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims,
                std::span<const std::byte> packed) const override {
    Tensor wide = cpu::unpack(layout, dtype, dims, packed);
    if (wide.dtype() == dtype) return wide;
    Tensor narrow(dtype, wide.dims());  // exact: packing had widened it
    for (int64_t i = 0; i < wide.elements(); ++i) narrow.write_double(i, wide.read_double(i));
    return narrow;
  }

 private:
  Target target_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(Isa isa, bool uniform) {
  return std::make_unique<CpuBackend>(detect_cpu_features(), isa, uniform);
}

}  // namespace lathe::cpu
