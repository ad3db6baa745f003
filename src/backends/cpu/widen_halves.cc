// f16 and bf16 graphs computed in f32. Types change in place; only what crosses the graph's boundary gets a cast.
// Rounding to the narrow type between ops is lost on purpose: the result is closer to the exact one.
#include <map>

#include "backends/cpu/legalize.h"

namespace lathe::cpu {
namespace {

bool narrow(DType type) { return type == DType::f16 || type == DType::bf16; }

MapProgram widened(const MapProgram& program) {
  if (program.empty()) return program;
  MapProgram wide;
  wide.set_num_inputs(program.num_inputs());
  std::vector<int> index;
  for (const MapInstr& original : program.code()) {
    MapInstr instr = original;
    if (narrow(instr.type)) instr.type = DType::f32;
    for (int a = 0; a < arity(instr.op); ++a) {
      auto& arg = instr.args[static_cast<size_t>(a)];
      arg = index[static_cast<size_t>(arg)];
    }
    const bool cast = instr.op == MapOp::cast || instr.op == MapOp::cast_sat;
    if (instr.op == MapOp::dim)
      index.push_back(wide.dim(program.dims()[static_cast<size_t>(instr.args[0])]));
    else if (cast && wide.code()[static_cast<size_t>(instr.args[0])].type == instr.type)
      index.push_back(instr.args[0]);
    else
      index.push_back(wide.push(instr));
  }
  wide.finish(index.back());
  return wide;
}

Tensor widened(const Tensor& tensor) {
  Tensor wide(DType::f32, tensor.dims());
  std::span<float> out = wide.mutable_as<float>();
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(tensor.read_double(static_cast<int64_t>(i)));
  return wide;
}

class Widening {
 public:
  int run(Graph& graph, bool outermost) {
    for (const auto& node : graph.nodes()) widen(*node);
    std::vector<Value*> inputs(graph.inputs().begin(), graph.inputs().end());
    for (Value* input : inputs) {
      if (!narrow(input->dtype())) continue;
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
    if (!narrow(value.dtype())) return;
    Type type = value.type();
    type.dtype = DType::f32;
    value.set_type(std::move(type));
    ++changed_;
  }

  void widen(Node& node) {
    for (Value* output : node.outputs()) {
      if (narrow(output->dtype())) original_.emplace(output, output->dtype());
      widen_value(*output);
    }
    if (auto* constant = node.as<Constant>(); constant != nullptr && narrow(constant->value.dtype()))
      constant->value = widened(constant->value);
    if (auto* map = node.as<Map>()) map->program = widened(map->program);
    if (auto* matmul = node.as<MatMul>()) matmul->epilogue = widened(matmul->epilogue);
    if (auto* conv = node.as<Conv>()) conv->epilogue = widened(conv->epilogue);
    if (auto* conv = node.as<ConvTranspose>()) conv->epilogue = widened(conv->epilogue);
    if (auto* norm = node.as<Norm>()) norm->prologue = widened(norm->prologue);
    if (auto* attention = node.as<Attention>()) attention->score = widened(attention->score);
    if (auto* sequence = node.as<Sequence>(); sequence != nullptr && narrow(sequence->dtype))
      sequence->dtype = DType::f32;
    for (Region* region : regions_of(node.mutable_op())) run(region->graph(), false);
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
