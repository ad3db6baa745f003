#include "backends/cuda/lift_constants.h"

#include "backends/cuda/kernels/epilogue_args.h"
#include "graph/rewrite_program.h"

namespace lathe::cuda {
namespace {

bool handles_bytes(const Node& node) {
  return bit_width(node.input(0)->dtype()) == 8 || bit_width(node.output()->dtype()) == 8;
}

bool is_number(const MapInstr& instr) {
  return instr.op == MapOp::constant && (instr.type == DType::f32 || instr.type == DType::i32);
}

Tensor tensor_of(const MapInstr& number) {
  if (number.type == DType::i32) return Tensor::scalar(static_cast<int32_t>(number.integer));
  return Tensor::scalar(static_cast<float>(number.real));
}

bool lift(Graph& graph, Node& node) {
  const MapProgram& old = node.as<MatMul>()->epilogue;
  if (old.uses_iota() || !old.dims().empty()) return false;
  std::vector<Value*> inputs(node.inputs().begin(), node.inputs().end());
  MapProgram lifted = rewrite_program(old, [&](const ProgramRewrite& at) -> std::optional<int> {
    if (!is_number(at.instr) || at.out.num_inputs() > kEpilogueMaxExtras) return std::nullopt;
    inputs.push_back(graph.insert_before(&node, Constant{tensor_of(at.instr)}, {})->output());
    return at.out.input(at.out.num_inputs(), at.instr.type);
  });
  if (lifted.num_inputs() == old.num_inputs()) return false;
  MatMul op = *node.as<MatMul>();
  op.epilogue = std::move(lifted);
  node.mutable_op() = std::move(op);
  graph.set_inputs(&node, std::move(inputs));
  return true;
}

}  // namespace

int lift_constants(Graph& graph) {
  int changed = 0;
  for (const auto& node : graph.nodes()) {
    for (Region* region : regions_of(node->mutable_op())) changed += lift_constants(region->graph());
    if (node->is<MatMul>() && handles_bytes(*node) && !node->as<MatMul>()->epilogue.empty() && lift(graph, *node))
      ++changed;
  }
  return changed;
}

}  // namespace lathe::cuda
