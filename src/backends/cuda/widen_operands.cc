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
    std::vector<Node*> casts = snapshot(graph_);
    std::erase_if(casts, [](const Node* node) { return !is_widening_of_constant(*node); });
    for (Node* cast : casts) take_out(*cast);
    const std::vector<Node*> nodes = snapshot(graph_);
    for (Node* node : nodes) {
      for (Region* region : regions_of(node->mutable_op())) changed_ += widen_operands(region->graph());
      if (node->is<MatMul>() || node->is<Conv>() || node->is<ConvTranspose>()) {
        widen_beside(*node, 0, 1);
        widen_beside(*node, 1, 0);
      }
    }
    for (Node* node : nodes)
      if (node->is<Constant>() && widened_.contains(node->output()) && node->output()->users().empty() &&
          !node->output()->is_output())
        graph_.erase(node);
    return changed_;
  }

 private:
  static bool is_widening_of_constant(const Node& node) {
    const Map* map = node.as<Map>();
    return map != nullptr && !map->shape && node.inputs().size() == 1 && is_constant(node.input(0)) &&
           is_half(node.input(0)->dtype()) && map->program == cast_program(node.input(0)->dtype(), DType::f32) &&
           !node.output()->is_output();
  }

  // A table of look-ups that is widened before them: rows are, once they are picked. What else reads it gets a wide
  // constant, so that no run computes the whole.
  void take_out(Node& cast) {
    Value *wide = cast.output(), *narrow = cast.input(0);
    const std::vector<Node*> users(wide->users().begin(), wide->users().end());
    for (Node* user : users) {
      if (user->is<Gather>()) {  // once: what picks rows are integers
        pick_narrow(*user, narrow);
        continue;
      }
      for (size_t i = 0; i < user->inputs().size(); ++i)
        if (user->input(i) == wide) read_narrow(*user, i, narrow);
    }
    graph_.erase(&cast);
  }

  void read_narrow(Node& user, size_t operand, Value* table) {
    const auto* embedding = user.as<Embedding>();
    const bool widens =
        embedding != nullptr && operand % 2 == 1 && operand < 2 * static_cast<size_t>(embedding->num_tables);
    graph_.set_input(&user, operand, widens ? table : wide_operand(user, table));
    ++changed_;
  }

  // Puts two nodes in the place of one.
  void pick_narrow(Node& gather, Value* table) {
    Value* rows = graph_.insert_before(&gather, gather.op(), {table, gather.input(1)}, 1, gather.name())->output();
    Map cast{cast_program(table->dtype(), DType::f32), {}};
    Value* wide = graph_.insert_before(&gather, std::move(cast), {rows}, 1, gather.name())->output();
    graph_.replace_uses(gather.output(), wide);
    graph_.erase(&gather);
    ++changed_;
  }

  Value* wide_operand(Node& node, Value* narrow) {
    Value*& made = widened_[narrow];
    if (made == nullptr) made = widened_before(node, narrow);
    return made;
  }

  void widen_beside(Node& node, size_t wide, size_t narrow) {
    Value* value = node.input(narrow);
    if (node.input(wide)->dtype() != DType::f32 || !is_half(value->dtype())) return;
    graph_.set_input(&node, narrow, wide_operand(node, value));
    ++changed_;
  }

  // `node` is the first that wants it.
  Value* widened_before(Node& node, Value* value) {
    if (is_constant(value)) {
      Node* constant = value->producer();
      Tensor wide = as_f32(constant->as<Constant>()->value);
      return graph_.insert_before(constant, Constant{std::move(wide)}, {}, 1, constant->name())->output();
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
