// f16 and bf16 graphs computed in f32. Types change in place; only what crosses the graph's boundary gets a cast.
// Rounding to the narrow type between ops is lost on purpose: the result is closer to the exact one.
//
// State keeps its type: it is written where it lies. Weights of products and tables of look-ups stay narrow, and are
// widened by the kernels that read them: they make up nearly all of a model, and reading them is most of the time of
// small batches.
#include <map>

#include "backends/cpu/legalize.h"
#include "graph/as_f32.h"
#include "graph/constant.h"
#include "graph/epilogue.h"
#include "graph/rewrite_program.h"

namespace lathe::cpu {
namespace {

MapProgram widened(const MapProgram& program) {
  return rewrite_program(program, [](const ProgramRewrite& at) -> std::optional<int> {
    MapInstr instr = at.instr;
    if (is_half(instr.type)) instr.type = DType::f32;
    const bool cast = instr.op == MapOp::cast || instr.op == MapOp::cast_sat;
    if (cast && at.out.code()[static_cast<size_t>(instr.args[0])].type == instr.type) return instr.args[0];
    return is_half(at.instr.type) ? std::optional(at.out.push(instr)) : std::nullopt;
  });
}

// Whether the kernel that reads operand `index` of `user`, a constant, widens it, or the packing for it does.
bool widens(const Node& user, size_t index) {
  if (user.is<Conv>() || user.is<ConvTranspose>()) return index == 1;
  if (const auto* matmul = user.as<MatMul>())
    return index == 1 && !matmul->trans_a && user.input(1)->type().rank() == 2;
  if (user.is<MatMulNBits>()) return index == 2 || index == 3;
  if (user.is<GroupedMatMul>()) return index >= kGroupedOperands;
  if (const auto* embedding = user.as<Embedding>())
    return index % 2 == 1 && index < 2 * static_cast<size_t>(embedding->num_tables);
  return user.is<Gather>() && index == 0;
}

class Widening {
 public:
  int run(Graph& graph, bool outermost) {
    for (Node* node : snapshot(graph)) {
      if (node->is<Constant>())
        widen_constant(graph, *node, outermost);
      else
        widen(graph, *node);
    }
    std::vector<Value*> inputs(graph.inputs().begin(), graph.inputs().end());
    for (Value* input : inputs) {
      if (!is_half(input->dtype()) || is_state(*input)) continue;
      if (outermost && input->type().is_tensor())
        cast_input(graph, input);
      else
        widen_value(*input);
    }
    if (outermost) cast_outputs(graph);
    drop_copies(graph);
    return changed_;
  }

 private:
  void widen_value(Value& value) {
    if (!is_half(value.dtype())) return;
    Type type = value.type();
    type.dtype = DType::f32;
    value.set_type(std::move(type));
    ++changed_;
  }

  // A constant that some readers want narrow and others wide is stored twice.
  void widen_constant(Graph& graph, Node& node, bool outermost) {
    Value* value = node.output();
    if (!is_half(value->dtype())) return;
    const Tensor& narrow = node.as<Constant>()->value;
    bool stays = value->is_output() && outermost;
    std::vector<std::pair<Node*, size_t>> wide_uses;
    for (Node* user : value->users()) {
      for (size_t i = 0; i < user->inputs().size(); ++i) {
        if (user->input(i) != value) continue;
        if (widens(*user, i))
          stays = true;
        else
          wide_uses.emplace_back(user, i);
      }
    }
    if (value->is_output() && !outermost) stays = false;
    if (!stays) {
      std::get<Constant>(node.mutable_op()).value = as_f32(narrow);
      widen_value(*value);
    } else if (!wide_uses.empty()) {
      Value* wide = graph.insert_before(&node, Constant{as_f32(narrow)}, {})->output();
      for (const auto& [user, i] : wide_uses) graph.set_input(user, i, wide);
      ++changed_;
    }
  }

  void widen(Graph& graph, Node& node) {
    if (node.is<Gather>() && is_half(node.input(0)->dtype()) && is_constant(node.input(0)))
      return widen_rows(graph, node);
    for (Value* output : node.outputs()) {
      if (is_half(output->dtype())) original_.emplace(output, output->dtype());
      widen_value(*output);
    }
    if (auto* map = node.as<Map>()) map->program = widened(map->program);
    if (MapProgram* epilogue = epilogue_of(node.mutable_op())) *epilogue = widened(*epilogue);
    if (auto* norm = node.as<Norm>()) norm->prologue = widened(norm->prologue);
    if (auto* attention = node.as<Attention>()) attention->score = widened(attention->score);
    if (auto* sequence = node.as<Sequence>(); sequence != nullptr && is_half(sequence->dtype))
      sequence->dtype = DType::f32;
    for (Region* region : regions_of(node.mutable_op())) run(region->graph(), false);
  }

  // Rows picked from a narrow table are narrow too.
  void widen_rows(Graph& graph, Node& gather) {
    const DType type = gather.output()->dtype();
    Value* rows =
        graph.insert_before(&gather, gather.op(), {gather.input(0), gather.input(1)}, 1, gather.name())->output();
    Value* wide = graph.insert_before(&gather, Map{cast_program(type, DType::f32), {}}, {rows})->output();
    original_.emplace(wide, type);
    graph.replace_uses(gather.output(), wide);
    graph.erase(&gather);
    ++changed_;
  }

  static void cast_input(Graph& graph, Value* input) {
    if (input->users().empty()) return;
    Node* first = graph.nodes().front().get();
    Value* wide = graph.insert_before(first, Map{cast_program(input->dtype(), DType::f32), {}}, {input})->output();
    const std::vector<Node*> users(input->users().begin(), input->users().end());
    for (Node* user : users) {
      if (user == wide->producer()) continue;
      for (size_t i = 0; i < user->inputs().size(); ++i)
        if (user->input(i) == input) graph.set_input(user, i, wide);
    }
  }

  // Casts from the narrow type have become copies, of whole tables of weights for one.
  static void drop_copies(Graph& graph) {
    for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
      Node* node = (it++)->get();
      const Map* map = node->as<Map>();
      if (map == nullptr || map->shape || !map->program.is_identity() || node->output()->is_output()) continue;
      graph.replace_uses(node->output(), node->input(0));
      graph.erase(node);
    }
  }

  void cast_outputs(Graph& graph) {
    for (size_t i = 0; i < graph.outputs().size(); ++i) {
      Value* output = graph.outputs()[i];
      const auto original = original_.find(output);
      if (original != original_.end() && output->type().is_tensor())
        graph.set_output(i, graph.emit(Map{cast_program(DType::f32, original->second), {}}, {output}));
    }
  }

  std::map<const Value*, DType> original_;  // narrow types of the widened values
  int changed_ = 0;
};

}  // namespace

int widen_halves(Graph& graph) { return Widening().run(graph, true); }

}  // namespace lathe::cpu
