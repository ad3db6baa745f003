#include "passes/token_rows.h"

#include <algorithm>

#include "graph/token_packing.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

using Uses = std::optional<std::vector<TokenUse>>;

bool is_ranked(const Value* value) { return value->type().is_tensor() && value->type().ranked; }

bool reads_token_axes(const MapProgram& program, int64_t rank) {
  return std::any_of(program.code().begin(), program.code().end(),
                     [&](const MapInstr& in) { return in.op == MapOp::iota && rank + in.args[0] < 2; });
}

// Of an operand that broadcasts to a result of `rank` axes.
std::optional<TokenUse> use_of(const Value* operand, int64_t rank, const TokenAxes& axes) {
  if (operand == nullptr) return TokenUse::whole;
  if (!is_ranked(operand) || operand->type().rank() > rank) return std::nullopt;
  const auto size_at = [&](int64_t axis) {
    const int64_t own = axis - rank + operand->type().rank();
    return own < 0 ? Dim(1) : operand->shape()[static_cast<size_t>(own)];
  };
  const Dim batch = size_at(0), length = size_at(1);
  if (batch == axes.batch && length == axes.length && operand->type().rank() == rank) return TokenUse::tokens;
  if (batch != Dim(1)) return std::nullopt;
  if (length == Dim(1)) return TokenUse::whole;
  return length == axes.length ? std::optional(TokenUse::positions) : std::nullopt;
}

class Reader {
 public:
  Reader(const Node& node, const TokenAxes& axes) : node_(node), axes_(axes), uses_(node.inputs().size()) {}

  Uses operator()(const Map& op) {
    if (!program(op.program)) return std::nullopt;
    return broadcast(0, node_.inputs().size());
  }
  Uses operator()(const MatMul& op) {
    if (op.trans_a || !program(op.epilogue) || !weights(1)) return std::nullopt;
    return rows(0) ? broadcast(2, node_.inputs().size()) : std::nullopt;
  }
  Uses operator()(const MatMulNBits& op) {
    if (!program(op.epilogue)) return std::nullopt;
    return rows(0) ? broadcast(kNBitsOperands, node_.inputs().size()) : std::nullopt;
  }
  Uses operator()(const Norm& op) {
    const auto count = static_cast<size_t>(op.num_x);
    if (op.axis < 2 || !program(op.prologue)) return std::nullopt;
    for (size_t i = count; i < node_.inputs().size(); ++i)
      if (node_.input(i) != nullptr && node_.input(i)->type().rank() > rank() - 2) return std::nullopt;
    return broadcast(0, count);
  }
  // Its ids stay as they are: it picks those of the tokens.
  Uses operator()(const Embedding& op) {
    if (rank() != 3 || picked_operand(op) < node_.inputs().size()) return std::nullopt;
    return uses_;
  }
  Uses operator()(const Gather& op) {  // of rows of a table
    if (op.axis != 0 || node_.input(1)->type().rank() + node_.input(0)->type().rank() - 1 != rank())
      return std::nullopt;
    return rows(1);
  }
  Uses operator()(const Rotary&) { return rows(0) ? broadcast(1, node_.inputs().size()) : std::nullopt; }
  Uses operator()(const Reshape&) { return rows(0); }
  Uses operator()(const Softmax& op) { return along(op.axis); }
  Uses operator()(const DynamicQuantize& op) { return along(op.axis); }
  Uses operator()(const Reduce& op) { return op.axes.empty() ? rows(0) : along(op.axes.front()); }
  Uses operator()(const Slice& op) { return op.axes.empty() ? rows(0) : along(op.axes.front()); }
  Uses operator()(const Transpose& op) {
    return op.perm.size() >= 2 && op.perm[0] == 0 && op.perm[1] == 1 ? rows(0) : std::nullopt;
  }
  Uses operator()(const Concat& op) {
    if (op.axis < 2) return std::nullopt;
    for (size_t i = 0; i < node_.inputs().size(); ++i)
      if (!rows(i)) return std::nullopt;
    return uses_;
  }
  template <class Other>
  Uses operator()(const Other&) {
    return std::nullopt;
  }

 private:
  int64_t rank() const { return node_.output()->type().rank(); }
  bool program(const MapProgram& p) const { return !reads_token_axes(p, rank()); }
  // A matrix for all tokens.
  bool weights(size_t i) const {
    const Shape& shape = node_.input(i)->shape();
    return is_ranked(node_.input(i)) && shape.size() >= 2 &&
           std::all_of(shape.begin(), shape.end() - 2, [](const Dim& d) { return d == Dim(1); });
  }
  bool operand(size_t i, int64_t broadcast_rank) {
    const auto use = use_of(node_.input(i), broadcast_rank, axes_);
    if (use) uses_[i] = *use;
    return use.has_value();
  }
  Uses broadcast(size_t first, size_t last) {
    for (size_t i = first; i < last; ++i)
      if (!operand(i, rank())) return std::nullopt;
    return uses_;
  }
  // An operand that has a row for each token.
  Uses rows(size_t i) {
    if (!is_token_tensor(node_.input(i), axes_)) return std::nullopt;
    uses_[i] = TokenUse::tokens;
    return uses_;
  }
  Uses along(int64_t first_axis) { return first_axis >= 2 ? rows(0) : std::nullopt; }

  const Node& node_;
  const TokenAxes& axes_;
  std::vector<TokenUse> uses_;
};

Shape packed_shape(Shape shape, const Dim& tokens) {
  shape[0] = 1;
  shape[1] = tokens;
  return shape;
}

}  // namespace

bool is_token_tensor(const Value* value, const TokenAxes& axes) {
  return value != nullptr && is_ranked(value) && value->type().rank() >= 2 && value->shape()[0] == axes.batch &&
         value->shape()[1] == axes.length;
}

std::optional<std::vector<TokenUse>> token_uses(const Node& node, const TokenAxes& axes) {
  for (const Value* output : node.outputs())
    if (!is_token_tensor(output, axes)) return std::nullopt;
  if (node.outputs().empty()) return std::nullopt;
  return std::visit([&](const auto& op) { return Reader(node, axes)(op); }, node.op());
}

Op on_tokens(Op op, const Dim& tokens) {
  if (auto* map = std::get_if<Map>(&op); map != nullptr && map->shape) map->shape = packed_shape(*map->shape, tokens);
  if (auto* reshape = std::get_if<Reshape>(&op)) reshape->shape = packed_shape(reshape->shape, tokens);
  return op;
}

}  // namespace lathe::passes
