// Decides whether a score program is causal. Proof by partial evaluation: with the condition "key <= query + offset"
// put to false, the program must simplify to a score that masks; with it put to true, the rest of the program remains.
#include <cmath>
#include <optional>

#include "graph/rewrite_program.h"
#include "passes/attention_score.h"
#include "passes/map_writer.h"

namespace lathe::passes {
namespace {

// key * iota(-1) + query * iota(-2) + rest.
struct Linear {
  int64_t key = 0, query = 0;
  Dim rest;
};

Linear combine(const Linear& a, const Linear& b, int64_t sign) {
  return {a.key + sign * b.key, a.query + sign * b.query, a.rest + Dim(sign) * b.rest};
}

std::optional<Linear> linear(const MapProgram& program, int index) {
  const MapInstr& in = program.code()[static_cast<size_t>(index)];
  switch (in.op) {
    case MapOp::iota:
      if (in.args[0] == -1) return Linear{1, 0, 0};
      if (in.args[0] == -2) return Linear{0, 1, 0};
      return std::nullopt;
    case MapOp::dim: return Linear{0, 0, program.dims()[static_cast<size_t>(in.args[0])]};
    case MapOp::constant:
      if (is_integer(in.type)) return Linear{0, 0, in.integer};
      if (is_float(in.type) && in.real == std::round(in.real) && std::abs(in.real) < 1e9)
        return Linear{0, 0, static_cast<int64_t>(in.real)};
      return std::nullopt;
    case MapOp::cast:  // positions are small enough for any type that exporters compare them in
      return bit_width(in.type) >= 32 ? linear(program, in.args[0]) : std::nullopt;
    case MapOp::add:
    case MapOp::sub: {
      const auto a = linear(program, in.args[0]), b = linear(program, in.args[1]);
      if (!a || !b) return std::nullopt;
      return combine(*a, *b, in.op == MapOp::add ? 1 : -1);
    }
    default: return std::nullopt;
  }
}

MapProgram with_constant(const MapProgram& program, int index, bool value) {
  return simplify_program(rewrite_program(program, [&](const ProgramRewrite& at) -> std::optional<int> {
    if (at.number != index) return std::nullopt;
    return at.out.constant_int(value ? 1 : 0, DType::boolean);
  }));
}

// The largest value that the instruction's result can have when the product is an ordinary number: -inf or a huge
// negative number, whatever is added to it.
double masked_value(const MapProgram& program, int index) {
  const MapInstr& in = program.code()[static_cast<size_t>(index)];
  if (in.op == MapOp::constant && is_float(in.type)) return in.real;
  if (in.op == MapOp::cast) return masked_value(program, in.args[0]);
  if (in.op == MapOp::add) return std::min(masked_value(program, in.args[0]), masked_value(program, in.args[1]));
  return 0;
}

bool reads_only_product(const MapProgram& program) {
  for (const MapInstr& in : program.code()) {
    if (in.op == MapOp::iota || in.op == MapOp::select || (in.op == MapOp::input && in.args[0] != 0)) return false;
  }
  return true;
}

}  // namespace

std::optional<PositionCondition> match_position_condition(const MapProgram& program, int index) {
  const MapInstr& in = program.code()[static_cast<size_t>(index)];
  if (in.op < MapOp::lt || in.op > MapOp::ge) return std::nullopt;
  const auto a = linear(program, in.args[0]), b = linear(program, in.args[1]);
  if (!a || !b) return std::nullopt;
  const bool less = in.op == MapOp::lt || in.op == MapOp::le;
  Linear d = less ? combine(*a, *b, -1) : combine(*b, *a, -1);  // the comparison says d <= 0
  if (in.op == MapOp::lt || in.op == MapOp::gt) d.rest = d.rest + Dim(1);
  if (d.key == 1 && d.query == -1) return PositionCondition{true, Dim(0) - d.rest};
  if (d.key == -1 && d.query == 1) return PositionCondition{false, d.rest - Dim(1)};  // says key >= query + rest
  return std::nullopt;
}

void extract_causal(ScoreProgram& score) {
  constexpr double kHuge = -1e30;  // exp of what is this far below another score is 0 in every float type
  const int size = static_cast<int>(score.program.code().size());
  for (int i = 0; i < size; ++i) {
    const auto condition = match_position_condition(score.program, i);
    if (!condition) continue;
    const MapProgram hidden = with_constant(score.program, i, !condition->visible);
    const MapProgram shown = with_constant(score.program, i, condition->visible);
    const double value = masked_value(hidden, static_cast<int>(hidden.code().size()) - 1);
    const bool hides_all = std::isinf(value) && value < 0;
    const bool hides_alone = value <= kHuge && reads_only_product(shown) && condition->offset.is_nonnegative();
    if (!hides_all && !hides_alone) continue;
    std::vector<int> kept;
    score.program = drop_unused_inputs(shown, 1, kept);
    std::vector<Value*> extras;
    for (const int which : kept)
      if (which > 0) extras.push_back(score.extras[static_cast<size_t>(which - 1)]);
    score.extras = std::move(extras);
    score.causal = true;
    score.causal_offset = condition->offset;
    return;
  }
}

}  // namespace lathe::passes
