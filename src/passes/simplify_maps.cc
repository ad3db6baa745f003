// Algebra on maps: programs simplified, numbers and sizes read from operands moved into the program, operands that the
// program does not read dropped, copies removed.
#include "passes/map_writer.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

// Without this operand the result would still have its shape.
bool is_shape_free(const Node& node, const Value* operand) {
  if (node.as<Map>()->shape) return true;
  const Shape& result = node.output()->shape();
  Shape rest;
  for (const Value* v : node.inputs())
    if (v != operand) rest = broadcast(rest, v->shape());
  return rest == result;
}

// The instruction for an operand that is one number or one dimension expression; nullopt for the rest.
std::optional<int> as_leaf(MapProgram& program, const Value* operand) {
  if (const Dims* dims = producer_as<Dims>(operand); dims != nullptr && dims->values.size() == 1)
    return program.dim(dims->values[0]);
  const Tensor* tensor = constant_tensor(operand);
  if (tensor == nullptr || !uniform_number(operand)) return std::nullopt;
  if (is_float(tensor->dtype())) return program.constant(tensor->read_double(0), tensor->dtype());
  return program.constant_int(tensor->read_int(0), tensor->dtype());
}

// What an operand is a plain expansion of: maps broadcast by themselves.
Value* unexpanded(Value* operand) {
  const Map* map = producer_as<Map>(operand);
  const bool expands = map != nullptr && map->shape && map->program.is_identity();
  return expands && operand->producer()->input(0)->type().ranked ? operand->producer()->input(0) : operand;
}

// A short program over positions, which costs no more to run again than to read.
bool is_position(const Value* operand, const Shape& space) {
  const Map* map = producer_as<Map>(operand);
  return map != nullptr && map->program.uses_iota() && operand->producer()->inputs().empty() &&
         cost(map->program) <= 4 && iotas_agree(*operand->producer(), space);
}

// Work on an expanded operand is done before the expansion, which goes on to the user, who most often needs none.
Value* small_then_expanded(Graph& graph, Node& node, MapProgram program, std::vector<Value*> operands) {
  const DType dtype = program.result_type();
  Value* small = insert(graph, &node, Map{std::move(program), std::nullopt}, std::move(operands));
  return insert(graph, &node, Map{identity_program(dtype), node.output()->shape()}, {small});
}

bool simplify(Graph& graph, Node& node) {
  const Map* map = node.as<Map>();
  if (map == nullptr || !node.output()->type().ranked) return false;
  for (const Value* v : node.inputs())
    if (!v->type().ranked) return false;
  MapWriter writer;
  const int result = writer.inlined(map->program, node.inputs(), [&](Value* v) {
    if (const auto leaf = is_shape_free(node, v) || v->shape().empty() ? as_leaf(writer.program(), v) : std::nullopt)
      return *leaf;
    if (is_position(v, node.output()->shape())) return writer.inlined(v->producer()->as<Map>()->program, {});
    return writer.operand(map->program.uses_iota() ? v : unexpanded(v));
  });
  MapWriter::Result simple = writer.finish(result);
  Shape shape;
  for (const Value* v : simple.operands) shape = broadcast(shape, v->shape());
  const bool needs_shape = !(shape == node.output()->shape());
  if (!needs_shape && simple.program.is_identity() && simple.operands[0]->shape() == shape) {
    graph.replace_uses(node.output(), simple.operands[0]);
    return true;
  }
  if (needs_shape && !simple.operands.empty() && !simple.program.is_identity() && !simple.program.uses_iota()) {
    graph.replace_uses(node.output(),
                       small_then_expanded(graph, node, std::move(simple.program), std::move(simple.operands)));
    return true;
  }
  Map better{std::move(simple.program), needs_shape ? std::optional(node.output()->shape()) : std::nullopt};
  const bool same_operands =
      std::equal(simple.operands.begin(), simple.operands.end(), node.inputs().begin(), node.inputs().end());
  if (same_operands && better.program == map->program && better.shape == map->shape) return false;
  replace(graph, &node, node.output(), std::move(better), std::move(simple.operands));
  return true;
}

}  // namespace

int simplify_maps(Graph& graph) { return rewrite_nodes(graph, simplify); }

}  // namespace lathe::passes
