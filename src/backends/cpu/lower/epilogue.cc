#include "backends/cpu/lower/epilogue.h"

namespace lathe::cpu {
namespace {

// Read access to a program as a tree.
class Reader {
 public:
  explicit Reader(const MapProgram& program) : code_(program.code()) {}

  const MapInstr& at(int i) const { return code_[static_cast<size_t>(i)]; }
  bool is(int i, MapOp op) const { return at(i).op == op; }
  std::optional<float> constant(int i) const {
    return is(i, MapOp::constant) ? std::optional(static_cast<float>(at(i).real)) : std::nullopt;
  }
  // For a commutative op with one constant operand: the constant and the other operand.
  std::optional<float> constant_operand(int i, int& other) const {
    for (const int side : {0, 1}) {
      const auto value = constant(at(i).args[static_cast<size_t>(side)]);
      if (!value) continue;
      other = at(i).args[static_cast<size_t>(1 - side)];
      return value;
    }
    return std::nullopt;
  }

 private:
  const std::vector<MapInstr>& code_;
};

std::optional<Activation> simple_activation(MapOp op) {
  switch (op) {
    case MapOp::sigmoid: return Activation{ActivationKind::sigmoid};
    case MapOp::tanh: return Activation{ActivationKind::tanh};
    case MapOp::gelu_erf: return Activation{ActivationKind::gelu_erf};
    case MapOp::gelu_tanh: return Activation{ActivationKind::gelu_tanh};
    case MapOp::silu: return Activation{ActivationKind::silu};
    case MapOp::hard_swish: return Activation{ActivationKind::hard_swish};
    default: return std::nullopt;
  }
}

// The bound that a min or max with a constant sets; relu is max with 0.
std::optional<float> bound(const Reader& r, MapOp op, int index, int& argument) {
  if (op == MapOp::max && r.is(index, MapOp::relu)) {
    argument = r.at(index).args[0];
    return 0.0f;
  }
  return r.is(index, op) ? r.constant_operand(index, argument) : std::nullopt;
}

// min(max(x, low), high) or max(min(x, high), low), low <= high.
std::optional<Activation> match_clip(const Reader& r, int index, int& argument) {
  const MapOp outer = r.is(index, MapOp::min) ? MapOp::min : MapOp::max;
  const MapOp inner = outer == MapOp::min ? MapOp::max : MapOp::min;
  int inside = 0;
  const auto outer_bound = bound(r, outer, index, inside);
  const auto inner_bound = outer_bound ? bound(r, inner, inside, argument) : std::nullopt;
  if (!inner_bound) return std::nullopt;
  const float low = outer == MapOp::min ? *inner_bound : *outer_bound;
  const float high = outer == MapOp::min ? *outer_bound : *inner_bound;
  if (!(low <= high)) return std::nullopt;
  int scaled = 0, shifted = 0;
  // clip(a x + b, 0, 1) is hard sigmoid.
  if (low == 0 && high == 1 && r.is(argument, MapOp::add)) {
    const auto b = r.constant_operand(argument, shifted);
    const auto a = b && r.is(shifted, MapOp::mul) ? r.constant_operand(shifted, scaled) : std::nullopt;
    if (a) {
      argument = scaled;
      return Activation{ActivationKind::hard_sigmoid, *a, *b};
    }
  }
  return Activation{ActivationKind::clip, low, high};
}

// x * sigmoid(a x), or x * sigmoid(x).
std::optional<Activation> match_silu(const Reader& r, int index, int& argument) {
  for (const int side : {0, 1}) {
    const int x = r.at(index).args[static_cast<size_t>(side)], gate = r.at(index).args[static_cast<size_t>(1 - side)];
    if (!r.is(gate, MapOp::sigmoid)) continue;
    const int inside = r.at(gate).args[0];
    int scaled = 0;
    argument = x;
    if (inside == x) return Activation{ActivationKind::silu, 1.0f};
    const auto a = r.is(inside, MapOp::mul) ? r.constant_operand(inside, scaled) : std::nullopt;
    if (a && scaled == x) return Activation{ActivationKind::silu, *a};
  }
  return std::nullopt;
}

// select(x >= 0, x, a x) in its spellings.
std::optional<Activation> match_leaky(const Reader& r, int index, int& argument) {
  const MapInstr& select = r.at(index);
  const MapInstr& test = r.at(select.args[0]);
  const bool below = test.op == MapOp::lt || test.op == MapOp::le;
  if (!below && test.op != MapOp::gt && test.op != MapOp::ge) return std::nullopt;
  const auto zero = r.constant(test.args[1]);
  const int x = test.args[0], positive = below ? select.args[2] : select.args[1],
            negative = below ? select.args[1] : select.args[2];
  int scaled = 0;
  if (!zero || *zero != 0 || positive != x || !r.is(negative, MapOp::mul)) return std::nullopt;
  const auto slope = r.constant_operand(negative, scaled);
  if (!slope || scaled != x) return std::nullopt;
  argument = x;
  return Activation{ActivationKind::leaky_relu, *slope};
}

}  // namespace

std::optional<Activation> match_activation(const MapProgram& program, int index, int& argument) {
  const Reader r(program);
  const MapOp op = r.at(index).op;
  if (op == MapOp::min || op == MapOp::max || op == MapOp::relu) {
    if (const auto clip = match_clip(r, index, argument)) return clip;
    const auto low = bound(r, MapOp::max, index, argument);
    return low && *low == 0 ? std::optional(Activation{ActivationKind::relu}) : std::nullopt;
  }
  if (const auto simple = simple_activation(op)) {
    argument = r.at(index).args[0];
    return simple;
  }
  switch (op) {
    case MapOp::mul: return match_silu(r, index, argument);
    case MapOp::select: return match_leaky(r, index, argument);
    default: return std::nullopt;
  }
}

std::optional<EpilogueForm> match_epilogue(const MapProgram& program, const std::function<ExtraKind(int)>& kind_of) {
  EpilogueForm form;
  if (program.empty()) return form;
  for (const MapInstr& instr : program.code())
    if (instr.type != DType::f32 && instr.type != DType::boolean) return std::nullopt;
  const Reader r(program);
  int at = static_cast<int>(program.code().size()) - 1;
  // Takes an addition of a whole tensor or of a bias off the tree at `at`; false when there is none to take.
  const auto take_addition = [&](ExtraKind kind, int& slot) {
    if (slot >= 0 || !r.is(at, MapOp::add)) return false;
    for (const int side : {0, 1}) {
      const int operand = r.at(at).args[static_cast<size_t>(side)];
      if (!r.is(operand, MapOp::input) || r.at(operand).args[0] == 0 || kind_of(r.at(operand).args[0]) != kind)
        continue;
      slot = r.at(operand).args[0];
      at = r.at(at).args[static_cast<size_t>(1 - side)];
      return true;
    }
    return false;
  };
  const bool residual_outside = take_addition(ExtraKind::residual, form.residual);
  int argument = 0;
  if (const auto activation = match_activation(program, at, argument)) {
    form.activation = *activation;
    form.residual_after_activation = residual_outside;
    at = argument;
  }
  while (take_addition(ExtraKind::residual, form.residual) || take_addition(ExtraKind::bias, form.bias)) {
  }
  int scaled = 0;
  if (const auto alpha = r.is(at, MapOp::mul) ? r.constant_operand(at, scaled) : std::nullopt) {
    form.alpha = *alpha;
    at = scaled;
  }
  if (!r.is(at, MapOp::input) || r.at(at).args[0] != 0) return std::nullopt;
  return form;
}

}  // namespace lathe::cpu
