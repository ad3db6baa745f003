// A map over the result of a matmul or convolution becomes its epilogue: bias, activation, scale, and a residual, which
// is any other operand. The product is then finished while it is in registers.
#include "graph/epilogue.h"
#include "passes/map_writer.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

constexpr size_t kMaxExtras = 6;

// The operands of a product before those of its epilogue; absent ones that may be there are null.
std::vector<Value*> factors(const Node& product) {
  std::vector<Value*> values(product.inputs().begin(), product.inputs().end());
  values.resize(num_factors(product.op()));
  return values;
}

// The product among the map's operands whose epilogue it can be: the latest, since the others must be there before.
Node* product_before(const Graph& graph, const Node& map) {
  std::vector<Node*> candidates;
  for (const Value* v : map.inputs()) {
    Node* producer = v->producer();
    if (producer == nullptr || epilogue_of(producer->op()) == nullptr || only_user(v) != &map || !v->type().ranked)
      continue;
    if (v->shape() == map.output()->shape()) candidates.push_back(producer);
  }
  if (candidates.size() < 2) return candidates.empty() ? nullptr : candidates[0];
  Node* latest = nullptr;
  for (const auto& node : graph.nodes())
    if (std::find(candidates.begin(), candidates.end(), node.get()) != candidates.end()) latest = node.get();
  return latest;
}

// The type of the bare product, which the program's first input has.
DType product_type(const Node& node, const MapProgram& epilogue) {
  for (const MapInstr& in : epilogue.code())
    if (in.op == MapOp::input && in.args[0] == 0) return in.type;
  return node.output()->dtype();
}

bool fuse(Graph& graph, Node& node) {
  const Map* map = node.as<Map>();
  if (map == nullptr || map->program.uses_iota() || !node.output()->type().ranked) return false;
  Node* product = product_before(graph, node);
  if (product == nullptr) return false;
  Op op = product->op();
  MapProgram& epilogue = *epilogue_of(op);
  MapWriter writer({product_type(*product, epilogue)});
  std::vector<Value*> inputs = factors(*product);
  const auto extras = product->inputs().subspan(std::min(inputs.size(), product->inputs().size()));
  const int result = writer.inlined(map->program, node.inputs(), [&](Value* v) {
    if (v != product->output()) return writer.operand(v);
    if (epilogue.empty()) return writer.leading(0);
    std::vector<int> arguments = {writer.leading(0)};
    for (Value* extra : extras) arguments.push_back(writer.operand(extra));
    return writer.program().inline_program(epilogue, arguments);
  });
  MapWriter::Result fused = writer.finish(result);
  if (fused.operands.size() > kMaxExtras) return false;
  epilogue = std::move(fused.program);
  inputs.insert(inputs.end(), fused.operands.begin(), fused.operands.end());
  Node* done = graph.insert_before(&node, std::move(op), std::move(inputs), 1, product->name());
  graph.replace_uses(node.output(), done->output());
  return true;
}

}  // namespace

int fuse_epilogue(Graph& graph) { return rewrite_nodes(graph, fuse); }

}  // namespace lathe::passes
