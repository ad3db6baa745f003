// Merges the map that computes an operand into the map that reads it. Work is not repeated: a map with several users,
// or one that is smaller than its user, is merged only when that costs next to nothing.
#include "passes/map_writer.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

constexpr size_t kMaxInstructions =
    64;  // of a merged program, so that a kernel's working set stays in registers and L1
constexpr size_t kMaxOperands = 12;
constexpr int kCheap = 1;  // arithmetic that may be done again for each user or broadcast element

bool all_ranked(const Node& node) {
  const auto ranked = [](const Value* v) { return v->type().is_tensor() && v->type().ranked; };
  return std::all_of(node.inputs().begin(), node.inputs().end(), ranked) && ranked(node.output());
}

bool is_plain_expand(const Map& map) { return map.shape && map.program.is_identity(); }

// What turns a product into bytes becomes the product's epilogue: others then read bytes, not the product.
bool quantizes_product(const Node& map) {
  if (bit_width(map.output()->dtype()) != 8) return false;
  return std::any_of(map.inputs().begin(), map.inputs().end(), [&](const Value* v) {
    const bool product = producer_as<MatMul>(v) != nullptr || producer_as<Conv>(v) != nullptr;
    return product && only_user(v) == &map && v->shape() == map.output()->shape();
  });
}

bool should_merge(const Node& map, const Value* operand) {
  const Node* producer = operand->producer();
  const Map* inner = producer_as<Map>(operand);
  if (inner == nullptr || !all_ranked(*producer) || !iotas_agree(*producer, map.output()->shape())) return false;
  const size_t instructions = inner->program.code().size() + map.as<Map>()->program.code().size();
  if (instructions > kMaxInstructions || producer->inputs().size() + map.inputs().size() > kMaxOperands + 1)
    return false;
  if (is_plain_expand(*inner)) return true;
  if (quantizes_product(*producer)) return false;
  const bool same_size = operand->shape() == map.output()->shape();
  const bool alone = only_user(operand) == &map;
  if (alone && same_size) return true;
  return cost(inner->program) <= (alone || producer->inputs().empty() ? kCheap : 0) && producer->inputs().size() <= 1;
}

bool merge(Graph& graph, Node& node) {
  const Map* map = node.as<Map>();
  if (map == nullptr || !all_ranked(node)) return false;
  bool merged = false;
  MapWriter writer;
  const int result = writer.inlined(map->program, node.inputs(), [&](Value* v) {
    if (!should_merge(node, v)) return writer.operand(v);
    merged = true;
    return writer.inlined(v->producer()->as<Map>()->program, v->producer()->inputs());
  });
  if (!merged) return false;
  MapWriter::Result fused = writer.finish(result);
  Shape shape;
  for (const Value* v : fused.operands) shape = broadcast(shape, v->shape());
  Map op{std::move(fused.program), std::nullopt};
  if (!(shape == node.output()->shape())) op.shape = node.output()->shape();
  replace(graph, &node, node.output(), std::move(op), std::move(fused.operands));
  return true;
}

}  // namespace

int fuse_elementwise(Graph& graph) { return rewrite_nodes(graph, merge); }

}  // namespace lathe::passes
