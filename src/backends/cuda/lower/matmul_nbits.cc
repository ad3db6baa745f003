// Products of halves with weights of 4 or 8 bits. Few rows are multiplied as the weights are read; for many rows the
// weights are widened into workspace, and the product is that of halves, whatever serves it.
#include <array>

#include "backends/cuda/kernels/widen_nbits_args.h"
#include "backends/cuda/lower/gemm_few.h"
#include "backends/cuda/lower/lower.h"
#include "backends/cuda/program_code.h"
#include "graph/build.h"
#include "graph/constant.h"

namespace lathe::cuda {
namespace {

constexpr size_t kAlignment = 256, kFactors = 2;
constexpr unsigned kThreads = 256;
constexpr int64_t kEach = 8;  // weights that a thread widens

bool has(const Node& node, size_t operand) { return operand < node.inputs().size() && node.input(operand) != nullptr; }

FewWeights weights_of(const MatMulNBits& op, const Node& node) {
  return {node.input(1)->dtype(), node.input(2)->dtype(), op.block, has(node, 3)};
}

// The same product with wide weights, (a, w, extras..) -> y: what the epilogue is compiled for, and what runs where
// weights are widened.
std::unique_ptr<Graph> wide_product(const MatMulNBits& op, const Node& node) {
  auto graph = std::make_unique<Graph>();
  const auto input = [&](const Type& type) {
    return graph->add_input(fmt::format("x{}", graph->inputs().size()), type);
  };
  std::vector<Value*> operands = {input(node.input(0)->type()),
                                  input(Type::tensor(node.input(0)->dtype(), node.input(1)->shape()))};
  for (size_t i = kNBitsOperands; i < node.inputs().size(); ++i) operands.push_back(input(node.input(i)->type()));
  MatMul product;
  product.trans_b = true;
  product.epilogue = op.epilogue;
  graph->add_output(graph->emit(std::move(product), std::move(operands), node.name()), "y");
  return graph;
}

const Node& only_node(const Graph& graph) { return *graph.nodes().front(); }

// The operands of a product as those of the product with wide weights.
class WideIo {
 public:
  WideIo(const StepIo& io, std::span<const int64_t> weight_dims, void* weights) {
    refs_[count_++] = io.inputs[0];
    refs_[count_++] = {weights, io.inputs[0].dtype, weight_dims, true, nullptr};
    for (size_t i = kNBitsOperands; i < io.inputs.size(); ++i) refs_[count_++] = io.inputs[i];
    io_ = {{refs_.data(), count_}, io.outputs, io.symbols, io.threads, nullptr};
  }
  WideIo(const WideIo&) = delete;
  const StepIo& io() const { return io_; }

 private:
  std::array<TensorRef, kFactors + kEpilogueMaxExtras> refs_;
  size_t count_ = 0;
  StepIo io_;
};

struct NBitsState : StepState {
  explicit NBitsState(MatmulSizes matmul_sizes) : sizes(std::move(matmul_sizes)) {}
  MatmulSizes sizes;
  MatmulArgs args{};
  int splits = 1;
  std::unique_ptr<StepState> wide;  // where weights are widened
};

class MatMulNBitsStep : public Step {
 public:
  MatMulNBitsStep(const MatMulNBits& op, const Node& node, const Target& target)
      : graph_(wide_product(op, node)),
        product_(*only_node(*graph_).as<MatMul>()),
        epilogue_(product_.epilogue, node.input(0)->dtype(), only_node(*graph_),
                  {0, node.output()->shape().size() - 1}),
        block_(op.block),
        weight_dims_{node.input(1)->shape()[0].value(), node.input(1)->shape()[1].value()} {
    const DType type = node.input(0)->dtype();
    FewWeights weights = weights_of(op, node);
    look_around(weights, node);
    const Shape& shape = node.output()->shape();
    const Dim rows = product({shape.begin(), shape.end() - 1});
    const bool known = rows.is_constant();
    // A kernel for some numbers of rows only would let a row's bits depend on how many there are.
    const bool few = !target.uniform && (!known || rows.value() <= FewRowsGemm::most_rows(weights.type));
    GemmTypes types;
    types.a = types.b = types.product = type;
    types.output = epilogue_.kernel_output();
    types.trans_b = true;
    types.epilogue = epilogue_.kernel_code();
    if (few && epilogue_.fusable())
      few_.emplace(types, weights, weight_dims_[0], weight_dims_[1], known ? std::optional(rows.value()) : std::nullopt,
                   node, kNBitsOperands, target);
    widen_ = &target.kernels.request(
        {"widen_nbits.cu",
         "widen_nbits",
         {fmt::format("TYPE={}", cuda_type(type)), fmt::format("SCALE={}", cuda_type(weights.scale)),
          fmt::format("BITS={}", bit_width(weights.type)),
          fmt::format("SIGNED={}", is_signed_int(weights.type) ? 1 : 0),
          fmt::format("ZEROS={}", weights.zeros ? 1 : 0)},
         {}});
    wide_ = lower(product_, only_node(*graph_), target).front().make().step;
  }

  size_t workspace_bytes(const StepIo& io) const override {
    const WideIo wide(io, weight_dims_, nullptr);
    const MatmulSizes sizes(wide.io(), false, true);
    return fits(sizes) ? few_->workspace_bytes(sizes) : wide_bytes(io) + wide_->workspace_bytes(wide.io());
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    const WideIo wide(io, weight_dims_, nullptr);
    auto state = std::make_unique<NBitsState>(MatmulSizes(wide.io(), false, true));
    if (!fits(state->sizes)) {
      state->wide = wide_->prepare(wide.io());
      return state;
    }
    state->args = matmul_args(state->sizes, epilogue_.kernel_args(wide.io()));
    state->args.constant_b = 1;
    state->splits = few_->splits(state->sizes);
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void* workspace, DeviceContext& device) const override {
    const auto& state = *static_cast<const NBitsState*>(prepared);
    if (io.outputs[0].elements() == 0) return;
    const WideIo wide(io, weight_dims_, workspace);
    const void* zeros = io.inputs.size() > 3 && io.inputs[3].present ? io.inputs[3].data : nullptr;
    if (state.wide == nullptr) {
      MatmulArgs args = state.args;
      Epilogue::set_addresses(args.epilogue, wide.io());
      args.a = io.inputs[0].data;
      args.b = io.inputs[1].data;
      args.output = io.outputs[0].data;
      few_->run(args, io.inputs[2].data, zeros, state.splits, workspace, static_cast<CudaContext&>(device));
      return;
    }
    const auto [n, k] = weight_dims_;
    const WidenNBitsArgs args{io.inputs[1].data,  io.inputs[2].data, zeros, workspace, n, k, block_,
                              ceil_div(k, block_)};
    widen_->launch(stream_of(device), {static_cast<unsigned>(ceil_div(n * k / kEach, kThreads))}, kThreads, 0, args);
    wide_->run(wide.io(), state.wide.get(), static_cast<std::byte*>(workspace) + wide_bytes(io), device);
  }

 private:
  bool fits(const MatmulSizes& sizes) const { return few_ && few_->fits(sizes); }
  size_t wide_bytes(const StepIo& io) const {
    const size_t bytes = storage_bytes(io.inputs[0].dtype, weight_dims_[0] * weight_dims_[1]);
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  std::unique_ptr<Graph> graph_;
  const MatMul& product_;
  Epilogue epilogue_;
  int64_t block_;
  std::array<int64_t, 2> weight_dims_;
  std::optional<FewRowsGemm> few_;
  const Kernel* widen_ = nullptr;
  std::unique_ptr<Step> wide_;
};

}  // namespace

std::string why_not_nbits(const MatMulNBits& op, const Node& node) {
  for (size_t i = 1; i < kNBitsOperands; ++i)
    if (has(node, i) && !is_constant(node.input(i))) return "its weights are not constant";
  const Type& a = node.input(0)->type();
  if (!is_half(a.dtype)) return "activations are not of 16 bits";
  if (!a.ranked || a.rank() < 2) return "a vector, or an unknown rank";
  if (has(node, 3) && node.input(3)->dtype() != node.input(1)->dtype()) return "zeros are not of the weights' type";
  const Shape& weights = node.input(1)->shape();
  if (weights[0].value() == 0 || !FewRowsGemm::knows(a.dtype, weights_of(op, node), weights[1].value()))
    return "weights of other than 4 or 8 bits, or blocks that steps of 32 terms do not fill";
  if (node.inputs().size() > kNBitsOperands + kEpilogueMaxExtras) return "too many operands";
  return {};
}

Candidates lower(const lathe::MatMulNBits& op, const Node& node, const Target& target) {
  if (std::string why = why_not_nbits(op, node); !why.empty()) return {decline("gemm_nbits", std::move(why))};
  return {accept_step<MatMulNBitsStep>("gemm_nbits", op, node, target)};
}

}  // namespace lathe::cuda
