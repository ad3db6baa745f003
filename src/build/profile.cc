#include "build/profile.h"

#include <algorithm>

#include "base/error.h"
#include "graph/token_packing.h"

namespace lathe {

SymbolBindings bind_profile(const Graph& graph, const Profile& profile, std::vector<int64_t> SizeRange::*which) {
  SymbolBindings symbols;
  for (const auto& [name, range] : profile) {
    const auto inputs = graph.inputs();
    const auto found =
        std::find_if(inputs.begin(), inputs.end(), [&wanted = name](const Value* v) { return v->name() == wanted; });
    if (found == inputs.end())
      fail(ErrorCode::invalid_argument, "the profile names an input '{}' that the model does not have", name);
    const Shape& shape = (*found)->shape();
    const std::vector<int64_t>& sizes = range.*which;
    if (shape.size() != sizes.size())
      fail(ErrorCode::invalid_argument, "input '{}' has shape {}, the profile gives {}", name, to_string(shape),
           to_string(sizes));
    for (size_t axis = 0; axis < shape.size(); ++axis)
      if (shape[axis].is_symbol() && !symbols.find(shape[axis].to_string()))
        symbols.bind(shape[axis].to_string(), sizes[axis]);
  }
  bind_all_tokens(graph, symbols);
  return symbols;
}

std::optional<std::vector<std::vector<int64_t>>> input_sizes(const Graph& graph, const Profile& profile,
                                                             std::vector<int64_t> SizeRange::*which) {
  const SymbolBindings symbols = bind_profile(graph, profile, which);
  std::vector<std::vector<int64_t>> sizes;
  for (const Value* input : graph.inputs()) {
    if (!input->type().is_tensor() || !input->type().ranked) return std::nullopt;
    std::vector<int64_t>& dims = sizes.emplace_back();
    for (const Dim& dim : input->shape()) {
      const std::optional<int64_t> size = symbols.try_evaluate(dim);
      if (!size || *size < 0) return std::nullopt;
      dims.push_back(*size);
    }
  }
  return sizes;
}

}  // namespace lathe
