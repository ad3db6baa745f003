#include "backends/widen_nbits.h"

#include "graph/reference/matmul_nbits.h"

namespace lathe {
namespace {

const Tensor* constant(const Value* value) {
  const Constant* op = value == nullptr || value->producer() == nullptr ? nullptr : value->producer()->as<Constant>();
  return op == nullptr || op->value.is_deferred() ? nullptr : &op->value;
}

bool widen(Graph& graph, Node& node, const MatMulNBits& op) {
  const Tensor *q = constant(node.input(1)), *scales = constant(node.input(2));
  Value* zero = node.inputs().size() > 3 ? node.input(3) : nullptr;
  const bool vector = !node.input(0)->type().ranked || node.input(0)->type().rank() < 2;
  if (q == nullptr || scales == nullptr || (zero != nullptr && constant(zero) == nullptr) || vector) return false;
  const NBitsWeights weights{*q, *scales, constant(zero), op.block};
  Tensor wide(node.input(0)->dtype(), q->dims());
  std::vector<double> row(static_cast<size_t>(q->dims()[1]));
  int64_t at = 0;
  for (int64_t i = 0; i < q->dims()[0]; ++i) {
    weights.read_row(i, row);
    for (const double w : row) wide.write_double(at++, w);
  }
  std::vector<Value*> operands = {node.input(0), graph.insert_before(&node, Constant{std::move(wide)}, {})->output()};
  for (size_t i = kNBitsOperands; i < node.inputs().size(); ++i) operands.push_back(node.input(i));
  MatMul product;
  product.trans_b = true;
  product.epilogue = op.epilogue;
  Node* done = graph.insert_before(&node, std::move(product), std::move(operands), 1, node.name());
  graph.replace_uses(node.output(), done->output());
  const std::vector<Value*> narrow(
      node.inputs().begin() + 1,
      node.inputs().begin() + std::min<std::ptrdiff_t>(kNBitsOperands, std::ssize(node.inputs())));
  graph.erase(&node);
  for (Value* value : narrow)
    if (value != nullptr && value->users().empty() && !value->is_output()) graph.erase(value->producer());
  return true;
}

}  // namespace

int widen_nbits(Graph& graph, const KeepNBits& keep) {
  int widened = 0;
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node& node = **it++;
    for (Region* region : regions_of(node.mutable_op())) widened += widen_nbits(region->graph(), keep);
    const MatMulNBits* op = node.as<MatMulNBits>();
    if (op != nullptr && !(keep && keep(*op, node))) widened += widen(graph, node, *op) ? 1 : 0;
  }
  return widened;
}

}  // namespace lathe
