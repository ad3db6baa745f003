#include "llm/causal_score.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "passes/attention_score.h"

namespace lathe::llm {
namespace {

constexpr double kHides = -1e30;  // exp of what is this far below another score is 0 in every float type

// A sum of operands and a number.
struct Term {
  std::map<int, int> operands;  // how often each stands in the sum
  double number = 0;
  bool is_number() const { return operands.empty(); }
  bool is_operand(int which) const { return number == 0 && operands == std::map<int, int>{{which, 1}}; }
};

// The values of comparisons, by instruction.
using Case = std::map<int, bool>;

std::optional<double> compute(MapOp op, double a, double b) {
  switch (op) {
    case MapOp::mul: return a * b;
    case MapOp::lt: return a < b;
    case MapOp::le: return a <= b;
    case MapOp::gt: return a > b;
    case MapOp::ge: return a >= b;
    case MapOp::eq: return a == b;
    case MapOp::ne: return a != b;
    default: return std::nullopt;
  }
}

std::optional<Term> evaluate(const MapProgram& program, int index, const Case& known) {
  const MapInstr& in = program.code()[static_cast<size_t>(index)];
  if (const auto found = known.find(index); found != known.end()) return Term{{}, found->second ? 1.0 : 0.0};
  if (in.op == MapOp::input) return Term{{{in.args[0], 1}}, 0};
  if (in.op == MapOp::constant) return Term{{}, is_float(in.type) ? in.real : static_cast<double>(in.integer)};
  if (arity(in.op) == 0) return std::nullopt;
  auto a = evaluate(program, in.args[0], known);
  if (!a) return std::nullopt;
  if (in.op == MapOp::select)
    return a->is_number() ? evaluate(program, in.args[a->number != 0 ? 1 : 2], known) : std::nullopt;
  if (in.op == MapOp::cast) return bit_width(in.type) >= 32 && std::trunc(a->number) == a->number ? a : std::nullopt;
  if (arity(in.op) != 2) return std::nullopt;
  const auto b = evaluate(program, in.args[1], known);
  if (!b) return std::nullopt;
  if (in.op == MapOp::add) {
    for (const auto& [operand, count] : b->operands) a->operands[operand] += count;
    a->number += b->number;
    return a;
  }
  if (in.op == MapOp::sub && b->is_number()) return Term{a->operands, a->number - b->number};
  const auto number = a->is_number() && b->is_number() ? compute(in.op, a->number, b->number) : std::nullopt;
  return number ? std::optional(Term{{}, *number}) : std::nullopt;
}

std::optional<Term> result_of(const MapProgram& program, const Case& known = {}) {
  return evaluate(program, static_cast<int>(program.code().size()) - 1, known);
}

bool sums_all(const MapProgram& program, const Term& term) {
  return term.number == 0 && static_cast<int>(term.operands.size()) == program.num_inputs() &&
         std::all_of(term.operands.begin(), term.operands.end(), [](const auto& entry) { return entry.second == 1; });
}

// Calls visit with every case that may be, of keys up to query + offset or, if not `shown`, of later ones.
template <class Visit>
bool all_cases(const MapProgram& program, const Dim& offset, bool shown, const Visit& visit) {
  constexpr size_t kMostOpen = 6;
  Case known;
  std::vector<int> open;
  for (int i = 0; i < static_cast<int>(program.code().size()); ++i) {
    const auto condition = passes::match_position_condition(program, i);
    if (!condition) continue;
    const Dim margin = shown ? condition->offset - offset : offset - condition->offset;
    if (margin.is_nonnegative())
      known[i] = condition->visible == shown;
    else
      open.push_back(i);
  }
  if (open.size() > kMostOpen) return false;
  for (size_t bits = 0; bits < size_t{1} << open.size(); ++bits) {
    for (size_t i = 0; i < open.size(); ++i) known[open[i]] = (bits >> i & 1) != 0;
    if (!visit(known)) return false;
  }
  return true;
}

const Value& behind_reshapes(const Value& value) {
  const Value* at = &value;
  while (at->producer() != nullptr && at->producer()->is<Reshape>()) at = at->producer()->input(0);
  return *at;
}

// Element i of the value, all of whose axes but the last are 1, is i.
bool counts_keys(const Value& value) {
  const Value* at = &behind_reshapes(value);
  double offset = 0;
  while (at->producer() != nullptr && at->producer()->is<Map>() && at->producer()->inputs().size() == 1) {
    const auto term = result_of(at->producer()->as<Map>()->program);
    if (!term || term->operands != std::map<int, int>{{0, 1}}) return false;
    offset += term->number;
    at = &behind_reshapes(*at->producer()->input(0));
  }
  const Node* node = at->producer();
  const Cumulative* sum = node == nullptr ? nullptr : node->as<Cumulative>();
  if (sum == nullptr || sum->kind != CumulativeKind::sum || sum->exclusive || sum->reverse) return false;
  const Shape& shape = at->shape();
  const bool flat = sum->axis + 1 == at->type().rank() &&
                    std::all_of(shape.begin(), shape.end() - 1, [](const Dim& size) { return size == Dim(1); });
  const Node* ones = node->input(0)->producer();
  if (!flat || ones == nullptr || !ones->is<Map>() || !ones->inputs().empty()) return false;
  const auto one = result_of(ones->as<Map>()->program);
  return one && one->is_number() && one->number == 1 && offset == -1;
}

}  // namespace

bool is_causal_sum(const MapProgram& program, const Dim& offset, bool hides) {
  const bool shows = all_cases(program, offset, true, [&](const Case& known) {
    const auto term = result_of(program, known);
    return term && sums_all(program, *term);
  });
  return shows && (!hides || (offset.is_nonnegative() && all_cases(program, offset, false, [&](const Case& known) {
                                const auto term = result_of(program, known);
                                return term && term->number <= kHides;
                              })));
}

std::optional<Tensor> alibi_slopes(const Value& bias, int64_t heads) {
  const Shape& shape = bias.shape();
  const size_t rank = shape.size();
  if (rank < 3 || !(shape[rank - 3] == Dim(heads)) || !(shape[rank - 2] == Dim(1))) return std::nullopt;
  const Value& product = behind_reshapes(bias);
  const Node* node = product.producer();
  if (node == nullptr || !node->is<Map>() || node->inputs().size() != 2) return std::nullopt;
  const MapProgram& program = node->as<Map>()->program;
  const MapInstr& last = program.code().back();
  if (last.op != MapOp::mul) return std::nullopt;
  const auto left = evaluate(program, last.args[0], {}), right = evaluate(program, last.args[1], {});
  if (!left || !right) return std::nullopt;
  for (const int which : {0, 1}) {
    const Value& slopes = *node->input(static_cast<size_t>(which));
    const Value& keys = *node->input(static_cast<size_t>(1 - which));
    const bool one_each =
        (left->is_operand(0) && right->is_operand(1)) || (left->is_operand(1) && right->is_operand(0));
    const auto* constant = slopes.producer() == nullptr ? nullptr : slopes.producer()->as<Constant>();
    if (!one_each || constant == nullptr || constant->value.dtype() != DType::f32 || !counts_keys(keys)) continue;
    // [.., heads, (1,) keys] of [.., heads, (1,) 1] and [.., keys]: the heads stand before the keys on both sides.
    const Shape ones(keys.shape().begin(), keys.shape().end() - 1);
    const bool by_head = constant->value.elements() == heads && !slopes.shape().empty() &&
                         slopes.shape().back() == Dim(1) && product.shape().back() == keys.shape().back() &&
                         product.shape().back() == shape.back() && lathe::product(ones) == Dim(1);
    if (by_head) return constant->value.aligned().reshaped({heads});
  }
  return std::nullopt;
}

}  // namespace lathe::llm
