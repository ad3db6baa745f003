// Rebuilds each chain of reshapes and transposes from its strides: at most reshape, transpose, reshape are left,
// nothing where nothing moves, and one reshape where the order of the elements stays.
#include <numeric>

#include "passes/passes.h"
#include "passes/rewrite.h"
#include "passes/view.h"

namespace lathe::passes {
namespace {

bool is_movement(const Node& node) { return node.is<Reshape>() || node.is<Transpose>(); }

// Movement nodes between `value` and `base`.
int chain_length(const Value* value, const Value* base) {
  int length = 0;
  for (; value != base; value = value->producer()->input(0)) ++length;
  return length;
}

struct Rebuilt {
  Shape before, after;  // shapes around the transpose
  std::vector<int64_t> perm;
};

bool is_identity(const std::vector<int64_t>& perm) {
  for (size_t i = 0; i < perm.size(); ++i)
    if (perm[i] != static_cast<int64_t>(i)) return false;
  return true;
}

// The transpose over axes that are as coarse as the movement allows. `coarse` gives the axes of the result; where it
// can, it keeps the result's own shape (no reshape after), else joins what stays together.
std::optional<Rebuilt> plan(const std::vector<Pieces>& axes) {
  std::vector<Piece> order;  // in the order of the result
  Rebuilt r;
  for (const Pieces& axis : axes) {
    const auto whole = single(axis);
    if (!whole) return std::nullopt;
    order.push_back(*whole);
    r.after.push_back(whole->size);
  }
  // Axes of size 1 have no place in the base; they stand where they are as long as the others keep them apart.
  std::vector<size_t> sorted(order.size());
  std::iota(sorted.begin(), sorted.end(), size_t{0});
  std::vector<Piece> left = order;
  std::vector<size_t> result;
  Dim stride = 1;  // from the innermost piece outwards: the next one's stride is the product of the sizes so far
  std::vector<bool> used(order.size(), false);
  for (size_t n = 0; n < order.size(); ++n) {
    size_t next = order.size();
    for (size_t i = order.size(); i-- > 0 && next == order.size();)
      if (!used[i] && (order[i].size == Dim(1) || order[i].stride == stride)) next = i;
    if (next == order.size()) return std::nullopt;
    used[next] = true;
    result.insert(result.begin(), next);
    stride = stride * order[next].size;
  }
  r.perm.resize(order.size());
  for (size_t i = 0; i < result.size(); ++i) {
    r.before.push_back(order[result[i]].size);
    r.perm[result[i]] = static_cast<int64_t>(i);
  }
  return r;
}

bool rebuild(Graph& graph, Node& node, const View& view, int length) {
  const Shape& shape = node.output()->shape();
  std::vector<std::vector<Pieces>> candidates = {view.axes};
  std::vector<Pieces> fine;
  for (const Piece& piece : joined(view.axes)) fine.push_back({piece});
  candidates.push_back(std::move(fine));
  for (const std::vector<Pieces>& axes : candidates) {
    const auto r = plan(axes);
    if (!r) continue;
    const int steps =
        (r->before == view.base->shape() ? 0 : 1) + (is_identity(r->perm) ? 0 : 1) + (r->after == shape ? 0 : 1);
    if (steps >= length) continue;
    Value* v = reshaped(graph, &node, view.base, r->before);
    v = transposed(graph, &node, v, r->perm);
    graph.replace_uses(node.output(), reshaped(graph, &node, v, shape));
    return true;
  }
  return false;
}

bool simplify(Graph& graph, Node& node) {
  if (!is_movement(node) || !node.output()->type().ranked) return false;
  ViewOptions options;
  options.through_slices = false;
  const View view = view_of(node.output(), options);
  if (view.base == node.output()) return false;
  const int length = chain_length(node.output(), view.base);
  const Shape& shape = node.output()->shape();
  if (is_contiguous(view)) {
    const bool is_shortest = length == 1 && node.is<Reshape>() && !(view.base->shape() == shape);
    if (is_shortest) return false;
    graph.replace_uses(node.output(), reshaped(graph, &node, view.base, shape));
    return true;
  }
  return rebuild(graph, node, view, length);
}

}  // namespace

int simplify_movement(Graph& graph) { return rewrite_nodes(graph, simplify); }

}  // namespace lathe::passes
