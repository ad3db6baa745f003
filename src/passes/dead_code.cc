// Drops nodes whose outputs nobody uses, except those that write state. A node that binds symbols (Bind, or an op whose
// output size only its run can tell) lives as long as something that lives mentions one of them.
#include <set>

#include "graph/symbols.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

using Names = std::set<std::string>;

void mention(const std::vector<std::string>& symbols, Names& needed) { needed.insert(symbols.begin(), symbols.end()); }

void mention_op(const Op& op, Names& needed) {
  std::vector<std::string> symbols;
  collect_symbols(op, symbols);
  mention(symbols, needed);
}

bool is_needed(const Node& node, const std::vector<std::string>& bound, const Names& needed) {
  if (!written_operands(node.op()).empty()) return true;
  const auto used = [](const Value* v) { return !v->is_unused(); };
  if (std::any_of(node.outputs().begin(), node.outputs().end(), used)) return true;
  return std::any_of(bound.begin(), bound.end(), [&](const std::string& s) { return needed.count(s) > 0; });
}

// `needed`: the symbols that the graph around a region mentions (a region may bind them for itself only, so this errs
// on the side of keeping).
int sweep(Graph& graph) {
  int erased = 0;
  Names needed;
  for (const Value* output : graph.outputs()) {
    std::vector<std::string> symbols;
    collect_symbols(output->type(), symbols);
    mention(symbols, needed);
  }
  std::vector<Node*> nodes = snapshot(graph);
  for (auto it = nodes.rbegin(); it != nodes.rend(); ++it) {
    Node& node = **it;
    if (!is_needed(node, symbols_bound_by(node), needed)) {
      graph.erase(&node);
      ++erased;
      continue;
    }
    for (Region* region : regions_of(node.mutable_op())) erased += sweep(region->graph());
    mention_op(node.op(), needed);
  }
  return erased;
}

}  // namespace

int dead_code(Graph& graph) { return sweep(graph); }

}  // namespace lathe::passes
