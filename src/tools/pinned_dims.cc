#include "tools/pinned_dims.h"

#include <algorithm>
#include <set>

#include "base/error.h"

namespace lathe::tools {
namespace {

class PinSearch {
 public:
  explicit PinSearch(const Graph& graph) : graph_(graph) {
    for (const Value* input : graph.inputs())
      for (const Dim& dim : input->shape()) {
        std::vector<std::string> symbols;
        dim.collect_symbols(symbols);
        free_.insert(symbols.begin(), symbols.end());
      }
  }

  std::vector<PinnedDim> run() {
    for (const auto& node : graph_.nodes()) {
      if (const auto* reshape = node->as<Reshape>()) check_reshape(*node, *reshape);
      if (const auto* matmul = node->as<MatMul>()) check_matmul(*node, *matmul);
      if (const auto* map = node->as<Map>())
        check_broadcast(*node, node->inputs().size(), map->shape ? &*map->shape : nullptr);
      if (const auto* norm = node->as<Norm>()) check_broadcast(*node, static_cast<size_t>(norm->num_x), nullptr);
      if (const auto* concat = node->as<Concat>()) check_concat(*node, *concat);
    }
    return std::move(found_);
  }

 private:
  // True if the expression speaks of nothing but free dimensions of inputs.
  bool is_free(const Dim& dim) const {
    std::vector<std::string> symbols;
    dim.collect_symbols(symbols);
    return !symbols.empty() &&
           std::all_of(symbols.begin(), symbols.end(), [&](const auto& s) { return free_.count(s) > 0; });
  }

  void add(const Node& node, const Dim& dim, std::vector<int64_t> allowed, std::string why) {
    if (!seen_.emplace(dim.to_string(), allowed).second) return;
    found_.push_back({dim, std::move(allowed), node.name(), std::string(op_name(node.op())), std::move(why)});
  }

  // `dim` must equal `constant`; says so if that is news.
  void require(const Node& node, const Dim& dim, const Dim& other, const std::string& why) {
    const Dim& symbolic = dim.is_constant() ? other : dim;
    const Dim& constant = dim.is_constant() ? dim : other;
    if (constant.is_constant() && is_free(symbolic)) add(node, symbolic, {constant.value()}, why);
  }

  void check_reshape(const Node& node, const Reshape& reshape) {
    const Type& type = node.input(0)->type();
    if (!type.ranked) return;
    Shape before = type.shape, after = reshape.shape;
    // Axes that stand on both sides pin nothing.
    for (auto dim = before.begin(); dim != before.end();) {
      const auto same = std::find(after.begin(), after.end(), *dim);
      if (same == after.end()) {
        ++dim;
        continue;
      }
      after.erase(same);
      dim = before.erase(dim);
    }
    const Dim from = product(before), to = product(after);
    if (from == to) return;
    const std::string why = fmt::format("takes {} as {}", to_string(type), to_string(reshape.shape));
    const Dim &large = from.is_constant() ? to : from, &small = from.is_constant() ? from : to;
    if (!small.is_constant() || small.value() <= 0) return;
    // Constant axes beside the symbolic ones divide out: batch*512 = 1024 says that batch is 2.
    Dim rest(1);
    int64_t factor = 1;
    for (const Dim& dim : from.is_constant() ? after : before) {
      if (dim.is_constant())
        factor *= dim.value();
      else
        rest = rest * dim;
    }
    if (factor > 0 && small.value() % factor == 0)
      require(node, rest, Dim(small.value() / factor), why);
    else
      require(node, large, small, why);
  }

  void check_matmul(const Node& node, const MatMul& op) {
    const Shape &a = node.input(0)->shape(), &b = node.input(1)->shape();
    if (a.size() < 2 || b.size() < 2) return;
    const Dim& columns = a[a.size() - (op.trans_a ? 2 : 1)];
    const Dim& rows = b[b.size() - (op.trans_b ? 1 : 2)];
    require(node, columns, rows, fmt::format("multiplies {} by {}", to_string(a), to_string(b)));
  }

  // The first `count` operands broadcast against each other, and to `target` where there is one.
  void check_broadcast(const Node& node, size_t count, const Shape* target) {
    const auto operands = node.inputs().first(std::min(count, node.inputs().size()));
    for (size_t from_end = 1; from_end <= node.output()->shape().size(); ++from_end) {
      std::vector<const Shape*> shapes;
      for (const Value* operand : operands) shapes.push_back(&operand->shape());
      if (target != nullptr) shapes.push_back(target);
      const Dim *constant = nullptr, *symbolic = nullptr;
      for (const Shape* shape : shapes) {
        if (from_end > shape->size()) continue;
        const Dim& dim = (*shape)[shape->size() - from_end];
        if (dim.is_constant() && dim.value() != 1) constant = &dim;
        if (is_free(dim)) symbolic = &dim;
      }
      if (constant != nullptr && symbolic != nullptr)
        add(node, *symbolic, {1, constant->value()},
            fmt::format("broadcasts {} against an operand with {}", symbolic->to_string(), constant->to_string()));
    }
  }

  void check_concat(const Node& node, const Concat& op) {
    const Shape& first = node.input(0)->shape();
    for (const Value* input : node.inputs())
      for (size_t axis = 0; axis < std::min(first.size(), input->shape().size()); ++axis)
        if (static_cast<int64_t>(axis) != op.axis)
          require(node, first[axis], input->shape()[axis],
                  fmt::format("joins {} and {}", to_string(first), to_string(input->shape())));
  }

  const Graph& graph_;
  std::set<std::string> free_;
  std::set<std::pair<std::string, std::vector<int64_t>>> seen_;
  std::vector<PinnedDim> found_;
};

}  // namespace

std::string PinnedDim::needed() const {
  std::string text;
  for (const int64_t value : allowed) text += (text.empty() ? "" : " or ") + std::to_string(value);
  return text;
}

std::vector<PinnedDim> find_pinned_dims(const Graph& graph) { return PinSearch(graph).run(); }

}  // namespace lathe::tools
