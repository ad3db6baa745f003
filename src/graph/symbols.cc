#include "graph/symbols.h"

#include <algorithm>

namespace lathe {
namespace {

using Names = std::vector<std::string>;

void collect_from(const Dim& dim, Names& names) { dim.collect_symbols(names); }
void collect_from(const Shape& shape, Names& names) {
  for (const Dim& dim : shape) dim.collect_symbols(names);
}
void collect_from(const std::optional<Shape>& shape, Names& names) {
  if (shape) collect_from(*shape, names);
}
void collect_from(const MapProgram& program, Names& names) { collect_from(program.dims(), names); }
void collect_from(const Region& region, Names& names) {
  for (const Value* input : region.graph().inputs()) collect_symbols(input->type(), names);
  for (const auto& node : region.graph().nodes()) {
    collect_symbols(node->op(), names);
    for (const Value* output : node->outputs()) collect_symbols(output->type(), names);
  }
}
template <class T>
void collect_from(const T&, Names&) {}  // no other field mentions symbols; those of a bind are defined, not mentioned

}  // namespace

void collect_symbols(const Type& type, Names& names) { collect_from(type.shape, names); }

void collect_symbols(const Op& op, Names& names) {
  std::visit(
      [&](const auto& o) { o.fields(o, [&](std::string_view, const auto& field) { collect_from(field, names); }); },
      op);
}

Names symbols_bound_by(const Node& node) {
  if (const Bind* bind = node.as<Bind>()) return bind->symbols;
  Names known, bound;
  for (const Value* output : node.outputs()) collect_symbols(output->type(), bound);
  if (bound.empty()) return bound;
  for (const Value* input : node.inputs())
    if (input != nullptr) collect_symbols(input->type(), known);
  collect_symbols(node.op(), known);
  bound.erase(std::remove_if(
                  bound.begin(), bound.end(),
                  [&](const std::string& name) { return std::find(known.begin(), known.end(), name) != known.end(); }),
              bound.end());
  return bound;
}

}  // namespace lathe
