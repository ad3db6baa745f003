#include "backends/cpu/lower/product_epilogue.h"

namespace lathe::cpu {

ProductEpilogue::ProductEpilogue(const MapProgram& program, const Node& node, size_t first_extra,
                                 const MapKernels& kernels)
    : first_extra_(first_extra) {
  const Type& out = node.output()->type();
  const auto kind_of = [&](int i) {
    const Type& extra = node.input(first_extra + static_cast<size_t>(i) - 1)->type();
    if (extra.shape == out.shape) return ExtraKind::residual;
    const bool row =
        !extra.shape.empty() && extra.shape.back() == out.shape.back() && product(extra.shape) == extra.shape.back();
    return row ? ExtraKind::bias : ExtraKind::other;
  };
  if (const auto match = match_epilogue(program, kind_of))
    form_ = *match;
  else
    program_ = std::make_unique<MapCode>(program, kernels);
}

const float* ProductEpilogue::extra(const StepIo& io, int program_input) const {
  return program_input < 0 ? nullptr
                           : io.inputs[first_extra_ + static_cast<size_t>(program_input) - 1].as<const float>();
}

GemmEpilogue ProductEpilogue::kernel_form(const StepIo& io, int64_t n) const {
  GemmEpilogue e;
  e.alpha = form_.alpha;
  e.activation = form_.activation;
  e.bias = extra(io, form_.bias);
  e.residual = extra(io, form_.residual);
  e.ld_residual = n;
  e.residual_after_activation = form_.residual_after_activation;
  e.c = io.outputs[0].as<float>();
  e.ldc = n;
  return e;
}

size_t ProductEpilogue::workspace_bytes(const StepIo& io) const {
  return program_ == nullptr ? 0 : static_cast<size_t>(io.threads) * program_->scratch_bytes();
}

std::unique_ptr<StepState> ProductEpilogue::prepare(const StepIo& io) const {
  if (program_ == nullptr) return nullptr;
  std::vector<std::span<const int64_t>> dims = {io.outputs[0].dims};
  for (size_t i = first_extra_; i < io.inputs.size(); ++i) dims.push_back(io.inputs[i].dims);
  return std::make_unique<MapState>(*program_, dims, io.outputs[0].dims, *io.symbols);
}

void ProductEpilogue::apply(const StepIo& io, const StepState* state, void* workspace, ThreadTeam& team) const {
  if (program_ == nullptr) return;
  const void* inputs[kMaxMapInputs] = {io.outputs[0].data};
  size_t count = 1;
  for (size_t i = first_extra_; i < io.inputs.size(); ++i) inputs[count++] = io.inputs[i].data;
  static_cast<const MapState*>(state)->plan.run(team, {inputs, count}, io.outputs[0].data, workspace);
}

}  // namespace lathe::cpu
