#include "graph/bindings.h"

#include "base/error.h"

namespace lathe {

void SymbolBindings::bind(std::string_view name, int64_t value) {
  if (value < 0 && !name.starts_with('$'))
    fail(ErrorCode::invalid_argument, "symbol '{}' names a size and cannot be {}", name, value);
  entries_.push_back({std::string(name), value});
}

std::optional<int64_t> SymbolBindings::find(std::string_view name, size_t oldest) const {
  for (size_t i = entries_.size(); i-- > oldest;)
    if (entries_[i].name == name) return entries_[i].value;
  return std::nullopt;
}

std::optional<int64_t> SymbolBindings::try_evaluate(const Dim& dim) const {
  if (dim.is_constant()) return dim.value();
  return dim.evaluate([this](std::string_view name) { return find(name); });
}

int64_t SymbolBindings::evaluate(const Dim& dim) const {
  if (const std::optional<int64_t> value = try_evaluate(dim)) return *value;
  std::vector<std::string> names;
  dim.collect_symbols(names);
  for (const std::string& name : names)
    if (!find(name)) fail(ErrorCode::not_found, "symbol '{}' of dimension '{}' has no value", name, dim.to_string());
  fail(ErrorCode::invalid_argument, "dimension '{}' overflows or divides by zero", dim.to_string());
}

std::vector<int64_t> SymbolBindings::evaluate(const Shape& shape) const {
  std::vector<int64_t> sizes;
  sizes.reserve(shape.size());
  for (const Dim& dim : shape) sizes.push_back(evaluate(dim));
  return sizes;
}

}  // namespace lathe
