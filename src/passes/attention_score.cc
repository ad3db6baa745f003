#include "passes/attention_score.h"

#include <unordered_map>

#include "graph/rewrite_program.h"
#include "passes/map_writer.h"
#include "passes/rewrite.h"
#include "passes/view.h"

namespace lathe::passes {
namespace {

bool is_one(const Dim& d) { return d == Dim(1); }

Shape without_leading_ones(const Shape& shape) {
  auto first = shape.begin();
  while (first != shape.end() && is_one(*first)) ++first;
  return Shape(first, shape.end());
}

class Builder {
 public:
  Builder(Graph& graph, Node* position, Value* product, const Shape& space)
      : graph_(graph), position_(position), product_(product), space_(space), writer_({product->dtype()}) {}

  std::optional<MapWriter::Result> run(Value* scores) {
    if (!reaches_product(scores)) return std::nullopt;
    const int result = score(scores);
    if (failed_) return std::nullopt;
    return writer_.finish(result);
  }

 private:
  // The product is among what `value` is computed from, by way of maps and reshapes.
  bool reaches_product(Value* value) {
    if (value == product_) return true;
    const auto [it, fresh] = reaches_.try_emplace(value, false);
    if (!fresh) return it->second;
    const Node* node = value->producer();
    if (node == nullptr || !(node->is<Map>() || node->is<Reshape>())) return false;
    bool found = false;
    for (Value* v : node->inputs()) found = reaches_product(v) || found;
    return reaches_[value] = found;
  }

  int fail() {
    failed_ = true;
    return writer_.leading(0);
  }

  // Same sizes but for the keys: what is broadcast against the product on the way to the weighted sum must, in the end,
  // have as many keys as there are values, so whatever the symbols say, sizes along the keys agree.
  static bool same_rows(const Shape& a, const Shape& b) {
    return a.size() == b.size() && a.size() >= 3 && std::equal(a.begin(), a.end() - 1, b.begin());
  }

  // A value that depends on the product: it has the size of all scores, under some grouping of the leading axes.
  int score(Value* value) {
    if (value == product_) return writer_.leading(0);
    if (!value->type().ranked) return fail();
    const Node& node = *value->producer();
    const Shape& level = value->shape();
    if (level.size() < 3 || !(level.end()[-2] == space_[2])) return fail();
    if (node.is<Reshape>()) {
      return keeps_rows(node.input(0)->shape(), level) ? score(node.input(0)) : fail();
    }
    const Map& map = *node.as<Map>();
    if (!iotas_fit(map.program, level)) return fail();
    return writer_.inlined(map.program, node.inputs(), [&](Value* v) {
      if (!reaches_product(v)) return leaf(v, level);
      return same_rows(v->shape(), level) ? score(v) : fail();
    });
  }

  // Positions of queries and keys are the same at every level; those of heads and batch only in the final space.
  bool iotas_fit(const MapProgram& program, const Shape& level) const {
    if (same_rows(level, space_)) return true;
    return std::none_of(program.code().begin(), program.code().end(),
                        [](const MapInstr& in) { return in.op == MapOp::iota && in.args[0] < -2; });
  }

  // A map whose operands are all smaller than itself: running it here costs little and saves a tensor of scores' size.
  bool is_inlined(const Value* v, const Shape& level) const {
    const Map* map = producer_as<Map>(v);
    if (map == nullptr || !v->type().ranked || v->shape().empty()) return false;
    const Node& node = *v->producer();
    const auto smaller = [&](const Value* operand) {
      return operand->type().ranked && without_leading_ones(operand->shape()) != without_leading_ones(v->shape());
    };
    if (!std::all_of(node.inputs().begin(), node.inputs().end(), smaller)) return false;
    const bool spans_queries = v->shape().size() >= 2 && !is_one(v->shape().end()[-2]);
    const bool grows = node.inputs().empty() || std::any_of(node.inputs().begin(), node.inputs().end(), smaller);
    return grows && (spans_queries || node.inputs().empty()) && iotas_agree(node, level) &&
           iotas_fit(map->program, level);
  }

  // Whether something inlinable stands behind a value of full size.
  bool has_inlined_operand(const Value* v, const Shape& level) const {
    const Map* map = producer_as<Map>(v);
    if (map == nullptr || !v->type().ranked || cost(map->program) > 16) return false;
    if (!iotas_agree(*v->producer(), level) || !iotas_fit(map->program, level)) return false;
    const auto& operands = v->producer()->inputs();
    return !operands.empty() && std::any_of(operands.begin(), operands.end(), [&](const Value* o) {
      return is_inlined(skip_unsqueeze(o), level) || has_inlined_operand(skip_unsqueeze(o), level);
    });
  }

  // The value before reshapes that only add or drop leading axes of size 1, which positions counted from the end
  // ignore.
  static const Value* skip_unsqueeze(const Value* v) {
    while (producer_as<Reshape>(v) != nullptr) {
      const Value* from = v->producer()->input(0);
      if (!from->type().ranked || without_leading_ones(from->shape()) != without_leading_ones(v->shape())) break;
      v = from;
    }
    return v;
  }

  // A value that does not depend on the product, at a level of the given shape.
  int leaf(Value* v, const Shape& level) {
    if (!v->type().ranked) return fail();
    Value* inner = const_cast<Value*>(skip_unsqueeze(v));
    if (is_inlined(inner, level) || has_inlined_operand(inner, level)) {
      const Node& node = *inner->producer();
      return writer_.inlined(node.as<Map>()->program, node.inputs(),
                             [&](Value* operand) { return leaf(operand, level); });
    }
    Value* extra = in_space(v, level);
    return extra != nullptr ? writer_.operand(extra) : fail();
  }

  // The value regrouped from a level's leading axes to [batch, heads].
  Value* in_space(Value* v, const Shape& level) {
    if (v->shape().size() <= 2) return v;
    if (level.size() == 4 && level[0] == space_[0] && level[1] == space_[1]) return v;
    Shape full(level.size() - std::min(level.size(), v->shape().size()), Dim(1));
    full.insert(full.end(), v->shape().begin(), v->shape().end());
    if (full.size() != level.size()) return nullptr;
    const Shape matrix(full.end() - 2, full.end());
    Shape expanded, target;
    if (!regroup(Shape(full.begin(), full.end() - 2), Shape(level.begin(), level.end() - 2), expanded, target))
      return nullptr;
    expanded.insert(expanded.end(), matrix.begin(), matrix.end());
    target.insert(target.end(), matrix.begin(), matrix.end());
    if (expanded != full) v = insert(graph_, position_, Map{identity_program(v->dtype()), expanded}, {v});
    return reshaped(graph_, position_, v, target);
  }

  // Walks the leading axes of level and space in groups of equal size. A group in which `have` has all sizes or none is
  // regrouped as it is; one in which it has some must be expanded first.
  bool regroup(const Shape& have, const Shape& level, Shape& expanded, Shape& target) const {
    size_t from = 0, to = 0;
    while (from < level.size() || to < 2) {
      const size_t from_begin = from, to_begin = to;
      Dim a = from < level.size() ? level[from++] : Dim(1), b = to < 2 ? space_[to++] : Dim(1);
      while (!(a == b)) {
        if (to < 2 && divide_exactly(a, b))
          b = b * space_[to++];
        else if (from < level.size())
          a = a * level[from++];
        else
          return false;
      }
      bool none = true;
      for (size_t i = from_begin; i < from; ++i) none = none && is_one(have[i]);
      for (size_t i = from_begin; i < from; ++i) expanded.push_back(none ? have[i] : level[i]);
      for (size_t i = to_begin; i < to; ++i) target.push_back(none ? Dim(1) : space_[i]);
    }
    return true;
  }

  Graph& graph_;
  Node* position_;
  Value* product_;
  const Shape& space_;
  MapWriter writer_;
  std::unordered_map<const Value*, bool> reaches_;
  bool failed_ = false;
};

// If the program only reads the product as product * c, in one place, c moves to the attention's own scale.
void extract_scale(ScoreProgram& score) {
  const auto& code = score.program.code();
  int product = -1, user = -1;
  for (size_t i = 0; i < code.size(); ++i) {
    if (code[i].op == MapOp::input && code[i].args[0] == 0) product = static_cast<int>(i);
    for (int a = 0; a < arity(code[i].op); ++a) {
      if (product < 0 || code[i].args[static_cast<size_t>(a)] != product) continue;
      if (user >= 0) return;
      user = static_cast<int>(i);
    }
  }
  if (user < 0) return;
  const MapInstr& in = code[static_cast<size_t>(user)];
  if (in.op != MapOp::mul && in.op != MapOp::div) return;
  const MapInstr& other = code[static_cast<size_t>(in.args[0] == product ? in.args[1] : in.args[0])];
  if (other.op != MapOp::constant || (in.op == MapOp::div && (in.args[0] != product || other.real == 0))) return;
  score.scale = in.op == MapOp::mul ? other.real : 1 / other.real;
  score.program = rewrite_program(score.program, [&](const ProgramRewrite& at) {
    return at.number == user ? std::optional(at.index[static_cast<size_t>(product)]) : std::nullopt;
  });
}

}  // namespace

bool keeps_rows(const Shape& from, const Shape& to) {
  if (from.size() < 3 || to.size() < 3 || !(from.end()[-2] == to.end()[-2])) return false;
  return product(Shape(from.begin(), from.end() - 2)) == product(Shape(to.begin(), to.end() - 2));
}

std::optional<ScoreProgram> score_program(Graph& graph, Node* position, Value* product, Value* scores,
                                          const Shape& space) {
  auto built = Builder(graph, position, product, space).run(scores);
  if (!built) return std::nullopt;
  ScoreProgram score;
  score.program = std::move(built->program);
  score.extras = std::move(built->operands);
  extract_scale(score);
  extract_causal(score);
  if (score.program.is_identity() && score.extras.empty()) score.program = MapProgram();
  return score;
}

}  // namespace lathe::passes
