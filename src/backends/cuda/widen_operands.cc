#include "backends/cuda/widen_operands.h"

#include <unordered_map>

namespace lathe::cuda {
namespace {

class Widening {
 public:
  explicit Widening(Graph& graph) : graph_(graph) {}

  int run() {
    std::vector<Node*> nodes;
    for (const auto& node : graph_.nodes()) nodes.push_back(node.get());
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
    if (value->producer() != nullptr && value->producer()->is<Constant>()) {
      const Tensor& tensor = value->producer()->as<Constant>()->value;
      Tensor wide(DType::f32, tensor.dims());
      std::span<float> out = wide.mutable_as<float>();
      for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(tensor.read_double(static_cast<int64_t>(i)));
      return graph_.insert_before(&node, Constant{std::move(wide)}, {}, 1, value->producer()->name())->output();
    }
    MapProgram program;
    program.finish(program.cast(program.input(0, value->dtype()), DType::f32));
    return graph_.insert_before(&node, Map{std::move(program), {}}, {value}, 1, node.name())->output();
  }

  Graph& graph_;
  std::unordered_map<const Value*, Value*> widened_;
  int changed_ = 0;
};

}  // namespace

int widen_operands(Graph& graph) { return Widening(graph).run(); }

}  // namespace lathe::cuda
