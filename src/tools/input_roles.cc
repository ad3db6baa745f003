#include "tools/input_roles.h"

#include <algorithm>
#include <unordered_set>

#include "base/ascii.h"
#include "graph/region.h"

namespace lathe::tools {
namespace {

constexpr int64_t kFewRows = 4;  // BERT has two segments, some relatives up to four

bool contains_any(std::string_view name, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return name.find(word) != std::string_view::npos; });
}

// A map through which an index stays the same index.
bool keeps_values(const Map& map) {
  return std::all_of(map.program.code().begin(), map.program.code().end(),
                     [](const MapInstr& i) { return i.op == MapOp::input || i.op == MapOp::cast; });
}

bool keeps_values(const Op& op, size_t operand) {
  if (const auto* map = std::get_if<Map>(&op)) return keeps_values(*map);
  if (std::holds_alternative<Gather>(op) || std::holds_alternative<Pad>(op)) return operand == 0;
  return std::holds_alternative<Reshape>(op) || std::holds_alternative<Transpose>(op) ||
         std::holds_alternative<Slice>(op) || std::holds_alternative<Concat>(op);
}

std::optional<int64_t> rows_along(const Value* table, int64_t axis) {
  if (table == nullptr || axis >= table->type().rank()) return std::nullopt;
  const Dim& rows = table->shape()[static_cast<size_t>(axis)];
  return rows.is_constant() ? std::optional(rows.value()) : std::nullopt;
}

// The rows that operand `operand` of `node` picks from, if it is an index.
std::optional<int64_t> rows_indexed_by(const Node& node, size_t operand) {
  if (const auto* gather = node.as<Gather>())
    return operand == 1 ? rows_along(node.input(0), gather->axis) : std::nullopt;
  if (const auto* gather = node.as<GatherElements>())
    return operand == 1 ? rows_along(node.input(0), gather->axis) : std::nullopt;
  if (const auto* embedding = node.as<Embedding>()) {
    const bool ids = operand % 2 == 0 && operand < 2 * static_cast<size_t>(embedding->num_tables);
    return ids ? rows_along(node.input(operand + 1), 0) : std::nullopt;
  }
  return std::nullopt;
}

// Follows a value to where it is used as an index.
class IndexSearch {
 public:
  std::optional<int64_t> run(const Value& value) {
    visit(value);
    return rows_;
  }

 private:
  void visit(const Value& value) {
    if (!seen_.insert(&value).second) return;
    for (const Node* user : value.users())
      for (size_t operand = 0; operand < user->inputs().size(); ++operand)
        if (user->input(operand) == &value) visit_use(*user, operand);
  }

  void visit_use(const Node& user, size_t operand) {
    if (const auto rows = rows_indexed_by(user, operand)) rows_ = std::min(*rows, rows_.value_or(*rows));
    if (keeps_values(user.op(), operand)) visit(*user.output());
    // Operands of loops and scans are the body's inputs in order; an If keeps its condition to itself.
    const size_t skipped = user.is<If>() ? 1 : 0;
    for (const Region* region : regions_of(user.op())) {
      const auto inputs = region->graph().inputs();
      if (operand >= skipped && operand - skipped < inputs.size()) visit(*inputs[operand - skipped]);
    }
  }

  std::unordered_set<const Value*> seen_;
  std::optional<int64_t> rows_;
};

// How many more rows than its longest size a value of positions picks from; nullopt for a value that is none. Positions
// are counted by iota, or by running sums over a mask: these start behind the padding token, as RoBERTa's do.
constexpr int64_t kAfterPadding = 2;
std::optional<int64_t> position_offset(const Value& value, int depth = 8) {
  const Node* producer = value.producer();
  if (producer == nullptr || depth == 0) return std::nullopt;
  if (producer->is<Cumulative>()) return kAfterPadding;
  const auto* map = producer->as<Map>();
  if (map != nullptr && map->program.uses_iota()) return 0;
  if (map == nullptr && !keeps_values(producer->op(), 0)) return std::nullopt;
  for (const Value* input : producer->inputs())
    if (const auto offset = position_offset(*input, depth - 1)) return offset;
  return std::nullopt;
}

void limit_symbol(const Dim& size, int64_t limit, std::map<std::string, int64_t>& limits) {
  if (!size.is_symbol()) return;
  const auto [entry, added] = limits.emplace(size.to_string(), limit);
  if (!added) entry->second = std::min(entry->second, limit);
}

void limit_positions(const Value* ids, std::optional<int64_t> rows, std::map<std::string, int64_t>& limits) {
  const auto offset = ids != nullptr && rows ? position_offset(*ids) : std::nullopt;
  if (!offset) return;
  for (const Dim& size : ids->shape()) limit_symbol(size, *rows - *offset, limits);
}

}  // namespace

InputRole role_of(const Value& input) {
  const Type& type = input.type();
  const std::string name = ascii_lower(input.name());
  if (contains_any(name, {"mask"}) || type.dtype == DType::boolean) return InputRole::mask;
  if (!is_integer(type.dtype)) return InputRole::values;
  if (contains_any(name, {"segment", "token_type", "tokentype", "type_ids"})) return InputRole::token_types;
  if (contains_any(name, {"position", "pos_ids"})) return InputRole::positions;
  if (contains_any(name, {"length", "seqlens", "seq_len", "_len"})) return InputRole::lengths;
  if (contains_any(name, {"input_ids", "token_ids", "tokens"})) return InputRole::token_ids;
  if (const auto rows = indexed_rows(input)) return *rows <= kFewRows ? InputRole::token_types : InputRole::token_ids;
  return type.ranked && type.rank() < 2 ? InputRole::lengths : InputRole::mask;
}

std::optional<int64_t> indexed_rows(const Value& input) { return IndexSearch().run(input); }

std::map<std::string, int64_t> symbol_limits(const Graph& graph) {
  std::map<std::string, int64_t> limits;
  for (const auto& node : graph.nodes()) {
    if (const auto* slice = node->as<Slice>()) {
      for (size_t i = 0; i < slice->axes.size(); ++i)
        if (const auto rows = rows_along(node->input(0), slice->axes[i])) limit_symbol(slice->sizes[i], *rows, limits);
    } else if (const auto* gather = node->as<Gather>()) {
      limit_positions(node->input(1), rows_along(node->input(0), gather->axis), limits);
    } else if (const auto* embedding = node->as<Embedding>()) {
      for (size_t i = 0; i < static_cast<size_t>(embedding->num_tables); ++i)
        limit_positions(node->input(2 * i), rows_along(node->input(2 * i + 1), 0), limits);
    }
  }
  return limits;
}

}  // namespace lathe::tools
