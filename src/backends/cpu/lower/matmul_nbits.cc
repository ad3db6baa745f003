// Products with weights of a few bits: all leading axes of the left-hand side are rows.
#include "backends/cpu/kernels/matmul_nbits.h"

#include "backends/cpu/lower/lower.h"
#include "backends/cpu/lower/product_epilogue.h"
#include "backends/cpu/packing.h"

namespace lathe::cpu {
namespace {

// How packed scales and zeros are stored.
NBitsParameter parameter_type(DType type) {
  switch (type) {
    case DType::f32: return NBitsParameter::f32;
    case DType::f16: return NBitsParameter::f16;
    case DType::bf16: return NBitsParameter::bf16;
    default: return NBitsParameter::u8;
  }
}

int packed_bits(DType type) { return bit_width(type) == 8 ? 8 : 4; }

class MatMulNBitsStep : public Step {
 public:
  MatMulNBitsStep(const MatMulNBits& op, const Node& node, const Target& target)
      : block_(op.block),
        round_rows_(op.round_rows),
        uniform_(target.uniform),
        kernels_(target.kernels),
        tiles_(target.int8_tiles),
        epilogue_(op.epilogue, node, kNBitsOperands, target.kernels.map) {}

  // The product is done with its part when the epilogue's program runs.
  size_t workspace_bytes(const StepIo& io) const override {
    return std::max(matmul_nbits_workspace_bytes(kernels_, product_of(io), io.threads), epilogue_.workspace_bytes(io));
  }
  std::unique_ptr<StepState> prepare(const StepIo& io) const override { return epilogue_.prepare(io); }

  void run(const StepIo& io, const StepState* state, void* workspace, DeviceContext& device) const override {
    matmul_nbits(team_of(device), kernels_, product_of(io), static_cast<std::byte*>(workspace));
    epilogue_.apply(io, state, workspace, team_of(device));
  }

 private:
  MatMulNBitsArgs product_of(const StepIo& io) const {
    const TensorRef &a = io.inputs[0], &q = io.inputs[1], &scales = io.inputs[2];
    const TensorRef zeros = io.inputs.size() > 3 ? io.inputs[3] : TensorRef();
    const int64_t n = q.dims[0], k = q.dims[1];
    const int32_t half = 1 << (bit_width(q.dtype) - 1);
    const bool shifted = zeros.present && is_float(zeros.dtype) && is_signed_int(q.dtype);
    MatMulNBitsArgs args;
    args.m = io.outputs[0].elements() / std::max<int64_t>(n, 1);
    args.n = n;
    args.a = a.as<const float>();
    args.b = {nbits_shape(k, block_),
              q.as<const uint8_t>(),
              scales.data,
              parameter_type(scales.dtype),
              zeros.present ? zeros.data : nullptr,
              parameter_type(zeros.dtype),
              half,
              shifted ? static_cast<float>(half) : 0};
    args.nibbles = packed_bits(q.dtype) == 4;
    args.round_rows = round_rows_;
    args.epilogue = epilogue_.kernel_form(io, n);
    args.uniform = uniform_;
    args.tiles = tiles_;
    return args;
  }

  int64_t block_;
  bool round_rows_, uniform_;
  const KernelTable& kernels_;
  const AmxInt8Kernels* tiles_;
  ProductEpilogue epilogue_;
};

std::string why_not(const MatMulNBits& op, const Node& node, const Target& target) {
  for (const Value* value : {node.input(0), node.output()})
    if (value->dtype() != DType::f32) return "computes in f32 only, not " + to_string(value->type());
  for (size_t i = 1; i < std::min(node.inputs().size(), kNBitsOperands); ++i)
    if (node.input(i) != nullptr && !is_constant(node.input(i))) return "the weights are not constant";
  return op.epilogue.empty() ? "" : MapCode::why_unsupported(op.epilogue, target.kernels.map);
}

}  // namespace

Candidates lower(const lathe::MatMulNBits& op, const Node& node, const Target& target) {
  if (const std::string why = why_not(op, node, target); !why.empty()) return {decline("matmul_nbits", why)};
  return {accept("matmul_nbits", [&op, &node, target] {
    const int nr = target.kernels.matmul_nbits.nr;
    std::vector<WeightLayout> layouts = {{}, nbits_panels(nr, packed_bits(node.input(1)->dtype()), op.block)};
    for (size_t i = 2; i < std::min(node.inputs().size(), kNBitsOperands); ++i)
      layouts.push_back(node.input(i) == nullptr ? WeightLayout() : nbits_parameters(nr, node.input(i)->dtype()));
    return Lowered{std::make_unique<MatMulNBitsStep>(op, node, target), std::move(layouts)};
  })};
}

}  // namespace lathe::cpu
