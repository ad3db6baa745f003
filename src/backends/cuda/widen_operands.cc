#include "backends/cuda/widen_operands.h"

#include <unordered_map>

#include "graph/as_f32.h"
#include "graph/constant.h"

namespace lathe::cuda {
namespace {

class Widening {
 public:
  explicit Widening(Graph& graph) : graph_(graph) {}

  int run() {
    const std::vector<Node*> nodes = snapshot(graph_);
    for (Node* node : nodes) {
      for (Region* region : regions_of(node->mutable_op())) changed_ += widen_operands(region->graph());
      if (node->is<MatMul>() || node->is<Conv>() || node->is<ConvTranspose>()) {
        widen_beside(*node, 0, 1);
        widen_beside(*node, 1, 0);
      }
      if (const auto* embedding = node->as<Embedding>()) {
        const auto scale = 2 * static_cast<size_t>(embedding->num_tables);
        for (size_t table = 1; table < scale; table += 2) widen_beside(*node, scale, table);
      }
    }
    for (Node* node : nodes)
      if (node->is<Constant>() && widened_.contains(node->output()) && node->output()->users().empty() &&
          !node->output()->is_output())
        graph_.erase(node);
    return changed_;
  }

 private:
  void widen_beside(Node& node, size_t wide, size_t narrow) {
    Value* value = node.input(narrow);
    if (node.input(wide)->dtype() != DType::f32 || !is_half(value->dtype())) return;
    Value*& made = widened_[value];
    if (made == nullptr) made = widened_before(node, value);
    graph_.set_input(&node, narrow, made);
    ++changed_;
  }

  // `node` is the first that wants it.
  Value* widened_before(Node& node, Value* value) {
    if (is_constant(value)) {
      Tensor wide = as_f32(value->producer()->as<Constant>()->value);
      return graph_.insert_before(&node, Constant{std::move(wide)}, {}, 1, value->producer()->name())->output();
    }
    return graph_.insert_before(&node, Map{cast_program(value->dtype(), DType::f32), {}}, {value}, 1, node.name())
        ->output();
  }

  Graph& graph_;
  std::unordered_map<const Value*, Value*> widened_;
  int changed_ = 0;
};

}  // namespace

int widen_operands(Graph& graph) { return Widening(graph).run(); }

}  // namespace lathe::cuda
