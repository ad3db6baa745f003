// Attention over a paged cache. Sizes say how much room a step needs; what is done, its integers say when it runs.
#include "backends/cpu/kernels/paged_attention.h"

#include "backends/cpu/lower/rounded_operands.h"

namespace lathe::cpu {
namespace {

class PagedAttentionStep : public Step {
 public:
  PagedAttentionStep(const lathe::PagedAttention& op, const Target& target, const GemmBf16Kernels* unit)
      : op_(op), kernels_(target.kernels), unit_(unit), uniform_(target.uniform) {}

  size_t workspace_bytes(const StepIo& io) const override {
    return paged_attention_workspace_bytes(kernels_, arguments(io), io.threads);
  }

  void run(const StepIo& io, const StepState*, void* workspace, DeviceContext& device) const override {
    const PagedAttention kernel = arguments(io);
    check(kernel.step);
    paged_attention(team_of(device), kernels_, kernel, workspace);
  }

 private:
  static std::span<const int32_t> integers(const TensorRef& ref) {
    return {ref.as<const int32_t>(), static_cast<size_t>(ref.elements())};
  }

  static PagedAttention::Operand operand(const TensorRef& ref, int64_t offset, int64_t stride) {
    return {ref.data == nullptr ? nullptr : ref.as<const float>() + offset, ref.dims[1], stride};
  }

  PagedAttention arguments(const StepIo& io) const {
    const auto& in = io.inputs;
    const auto has = [&](size_t i) { return i < in.size() && in[i].present; };
    PagedAttention a;
    a.heads = op_.heads;
    a.kv_heads = op_.kv_heads;
    a.head_dim = op_.head_dim;
    a.value_dim = op_.value_dim;
    a.scale = static_cast<float>(op_.scale);
    a.softcap = static_cast<float>(op_.softcap);
    a.window = op_.window;
    a.chunked = op_.chunked;
    a.step.tokens = in[0].dims[0];
    a.step.keys = in[1].dims[0];
    a.step.blocks = in[3].dims[0];
    a.step.block_size = op_.block_size;
    a.step.table_width = in[7].dims[1];
    a.step.starts = integers(in[5]);
    a.step.contexts = integers(in[6]);
    a.step.table = integers(in[7]);
    if (has(8)) a.step.prefixes = integers(in[8]);
    if (has(9)) a.slopes = in[9].as<const float>();
    if (has(10)) {
      a.biases = in[10].as<const float>();
      a.distances = in[10].dims[1];
    }
    if (has(11)) a.step.key_starts = integers(in[11]);
    if (has(12)) a.sinks = in[12].as<const float>();
    a.q = operand(in[0], op_.q_offset, op_.q_stride);
    a.k = operand(in[1], op_.k_offset, op_.k_stride);
    a.v = operand(in[2], op_.v_offset, op_.v_stride);
    a.cache = in[3].dtype;
    a.key_cache = in[3].data;
    a.value_cache = in[4].data;
    a.uniform = uniform_;
    a.unit = unit_;
    a.out = io.outputs[0].as<float>();
    return a;
  }

  const lathe::PagedAttention op_;
  const KernelTable& kernels_;
  const GemmBf16Kernels* const unit_;  // null: f32
  const bool uniform_;
};

}  // namespace

Candidates lower(const lathe::PagedAttention& op, const Node& node, const Target& target) {
  for (size_t i = 0; i < 3; ++i)
    if (node.input(i)->dtype() != DType::f32)
      return {decline("paged_attention", "computes in f32 only, not " + to_string(node.input(i)->type()))};
  const auto candidate = [&op, target](const char* name, const GemmBf16Kernels* unit) {
    return accept(name, [&op, target, unit] { return plain_step<PagedAttentionStep>(op, target, unit); });
  };
  std::string why = why_not_bf16(node, target);
  return {
      why.empty() ? candidate("paged_attention_bf16", target.bf16) : decline("paged_attention_bf16", std::move(why)),
      candidate("paged_attention", nullptr)};
}

}  // namespace lathe::cpu
