#include "llm/token_axes.h"

#include <algorithm>
#include <unordered_map>

namespace lathe::llm {
namespace {

constexpr int64_t kNone = -1, kMixed = -2;

class TokenAxes {
 public:
  TokenAxes(Dim tokens, const Value& rows) : tokens_(std::move(tokens)), rows_(rows) {}

  bool prove(const Graph& graph) {
    for (const Value* input : graph.inputs()) {
      const auto at = std::find(input->shape().begin(), input->shape().end(), tokens_);
      axes_[input] = at == input->shape().end() ? kNone : at - input->shape().begin();
    }
    return std::all_of(graph.nodes().begin(), graph.nodes().end(), [&](const auto& node) { return follow(*node); });
  }

 private:
  bool follow(const Node& node) {
    if (!regions_of(node.op()).empty()) return false;
    const bool reads_tokens = std::any_of(node.inputs().begin(), node.inputs().end(),
                                          [&](const Value* v) { return v != nullptr && axis(*v) != kNone; });
    int64_t result = kNone;
    if (reads_tokens || node.is<Map>())
      result = std::visit([&](const auto& op) { return axis_after(node, op); }, node.op());
    if (result == kMixed) return false;
    for (const Value* output : node.outputs()) {
      if (!output->type().is_tensor() || !output->type().ranked) return false;
      const Dim size = result == kNone ? Dim(0) : output->shape()[static_cast<size_t>(result)];
      for (size_t i = 0; i < output->shape().size(); ++i)
        if (static_cast<int64_t>(i) != result && mentions_tokens(output->shape()[i])) return false;
      if (result != kNone && !(size == tokens_ || size == rows_.shape()[0])) return false;
      axes_[output] = result;
    }
    return true;
  }

  int64_t axis(const Value& value) const { return axes_.at(&value); }

  bool mentions_tokens(const Dim& size) const {
    std::vector<std::string> names;
    size.collect_symbols(names);
    return std::find(names.begin(), names.end(), tokens_.to_string()) != names.end();
  }

  // The program may not ask where in the row a token stands, or how many there are.
  bool is_blind(const MapProgram& program, int64_t axis, int64_t rank) const {
    for (const MapInstr& in : program.code()) {
      if (in.op == MapOp::iota && axis != kNone && in.args[0] == axis - rank) return false;
      if (in.op == MapOp::dim && mentions_tokens(program.dims()[static_cast<size_t>(in.args[0])])) return false;
    }
    return true;
  }

  // Of operands that broadcast to so many axes.
  int64_t broadcast(std::span<Value* const> operands, int64_t rank, int64_t result = kNone) const {
    for (const Value* operand : operands) {
      if (operand == nullptr || axis(*operand) == kNone) continue;
      const int64_t at = axis(*operand) + rank - operand->type().rank();
      if (result != kNone && result != at) return kMixed;
      result = at;
    }
    return result;
  }
  static int64_t rank_of(const Node& node) { return node.output()->type().rank(); }
  int64_t first_axis(const Node& node) const { return axis(*node.input(0)); }

  int64_t axis_after(const Node& node, const Map& op) const {
    const int64_t result = broadcast(node.inputs(), rank_of(node));
    return result != kMixed && is_blind(op.program, result, rank_of(node)) ? result : kMixed;
  }
  int64_t axis_after(const Node& node, const Norm& op) const {
    const int64_t result = broadcast(node.inputs(), rank_of(node));
    return result < op.axis && is_blind(op.prologue, result, rank_of(node)) ? result : kMixed;
  }
  int64_t axis_after(const Node& node, const Embedding& op) const {
    int64_t result = kNone;
    for (int64_t i = 0; i < 2 * op.num_tables; i += 2) {
      if (axis(*node.input(static_cast<size_t>(i + 1))) != kNone) return kMixed;
      result = broadcast(node.inputs().subspan(static_cast<size_t>(i), 1), rank_of(node) - 1, result);
      if (result == kMixed) return kMixed;
    }
    return result;
  }
  int64_t axis_after(const Node& node, const Rotary&) const {
    const int64_t result = broadcast(node.inputs(), rank_of(node));
    return result + 1 < rank_of(node) ? result : kMixed;
  }
  int64_t axis_after(const Node& node, const MatMul& op) const {
    const int64_t rank = rank_of(node);
    const auto side = [&](size_t operand, bool transposed, int64_t kept) {
      const int64_t at = axis(*node.input(operand)), end = node.input(operand)->type().rank();
      if (at == kNone || at < end - 2) return at == kNone ? kNone : at + rank - end;
      return at == end - 2 + (kept == rank - 2 ? transposed : !transposed) ? kept : kMixed;
    };
    const int64_t a = side(0, op.trans_a, rank - 2), b = side(1, op.trans_b, rank - 1);
    if (a == kMixed || b == kMixed || (a != kNone && b != kNone && a != b)) return kMixed;
    const int64_t result = broadcast(node.inputs().subspan(2), rank, std::max(a, b));
    return result != kMixed && is_blind(op.epilogue, result, rank) ? result : kMixed;
  }
  int64_t axis_after(const Node& node, const MatMulNBits& op) const {
    const int64_t rank = rank_of(node);
    for (size_t i = 1; i < kNBitsOperands; ++i)
      if (node.input(i) != nullptr && axis(*node.input(i)) != kNone) return kMixed;
    const auto extras =
        node.inputs().size() > kNBitsOperands ? node.inputs().subspan(kNBitsOperands) : std::span<Value* const>();
    const int64_t result = broadcast(extras, rank, first_axis(node));
    return result + 1 < rank && is_blind(op.epilogue, result, rank) ? result : kMixed;
  }
  int64_t axis_after(const Node& node, const Transpose& op) const {
    return std::find(op.perm.begin(), op.perm.end(), first_axis(node)) - op.perm.begin();
  }
  // What is before the axis must be as much as before, and the axis must still be there.
  int64_t axis_after(const Node& node, const Reshape&) const {
    const Shape &from = node.input(0)->shape(), &to = node.output()->shape();
    const Dim before = product({from.begin(), from.begin() + first_axis(node)});
    for (size_t i = 0; i < to.size(); ++i)
      if (to[i] == from[static_cast<size_t>(first_axis(node))] &&
          product({to.begin(), to.begin() + static_cast<std::ptrdiff_t>(i)}) == before)
        return static_cast<int64_t>(i);
    return kMixed;
  }
  int64_t axis_after(const Node& node, const Slice& op) const {
    const bool cut = std::find(op.axes.begin(), op.axes.end(), first_axis(node)) != op.axes.end();
    return cut ? kMixed : first_axis(node);
  }
  int64_t axis_after(const Node& node, const Concat& op) const {
    const bool all = std::all_of(node.inputs().begin(), node.inputs().end(),
                                 [&](const Value* part) { return axis(*part) == first_axis(node); });
    return all && first_axis(node) != op.axis ? first_axis(node) : kMixed;
  }
  int64_t axis_after(const Node& node, const Softmax& op) const {
    return first_axis(node) == op.axis ? kMixed : first_axis(node);
  }
  int64_t axis_after(const Node& node, const Gather& op) const {
    const int64_t data = first_axis(node), indices = axis(*node.input(1));
    if (data == kNone) return op.axis + indices;
    if (indices != kNone || (data == op.axis && node.input(1) != &rows_)) return kMixed;
    return data <= op.axis ? data : data + node.input(1)->type().rank() - 1;
  }
  int64_t axis_after(const Node& node, const PagedAttention&) const {
    return broadcast(node.inputs().first(3), 2) == 0 ? 0 : kMixed;
  }
  template <class Op>
  int64_t axis_after(const Node&, const Op&) const {
    return kMixed;
  }

  const Dim tokens_;
  const Value& rows_;
  std::unordered_map<const Value*, int64_t> axes_;
};

}  // namespace

bool keeps_tokens_apart(const Graph& graph, const Dim& tokens, const Value& rows) {
  return TokenAxes(tokens, rows).prove(graph);
}

}  // namespace lathe::llm
