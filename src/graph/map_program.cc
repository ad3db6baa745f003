// Building, checking and renumbering of expression programs; their text form is in map_text.cc.
#include "graph/map_program.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace lathe {
namespace {

constexpr std::array<std::string_view, kMapOpCount> kNames = {
    "input",       "constant",    "iota",    "dim",      "cast",       "cast_sat",    "neg",         "abs",
    "sign",        "logical_not", "bit_not", "floor",    "ceil",       "round",       "trunc",       "sqrt",
    "reciprocal",  "exp",         "log",     "expm1",    "log1p",      "sin",         "cos",         "tan",
    "asin",        "acos",        "atan",    "sinh",     "cosh",       "asinh",       "acosh",       "atanh",
    "tanh",        "erf",         "sigmoid", "softplus", "relu",       "silu",        "gelu_erf",    "gelu_tanh",
    "mish",        "hard_swish",  "is_nan",  "is_inf",   "add",        "sub",         "mul",         "div",
    "floor_mod",   "trunc_mod",   "pow",     "min",      "max",        "atan2",       "logical_and", "logical_or",
    "logical_xor", "bit_and",     "bit_or",  "bit_xor",  "shift_left", "shift_right", "eq",          "ne",
    "lt",          "le",          "gt",      "ge",       "select",
};

bool gives_bool(MapOp op) {
  return is_comparison(op) || op == MapOp::is_nan || op == MapOp::is_inf || op == MapOp::logical_not ||
         (op >= MapOp::logical_and && op <= MapOp::logical_xor);
}

}  // namespace

std::string_view to_string(MapOp op) { return kNames[static_cast<size_t>(op)]; }

int arity(MapOp op) {
  if (op <= MapOp::dim) return 0;
  if (op <= MapOp::is_inf) return 1;
  return op == MapOp::select ? 3 : 2;
}

bool is_comparison(MapOp op) { return op >= MapOp::eq && op <= MapOp::ge; }

bool is_commutative(MapOp op) {
  switch (op) {
    case MapOp::add:
    case MapOp::mul:
    case MapOp::min:
    case MapOp::max:
    case MapOp::logical_and:
    case MapOp::logical_or:
    case MapOp::logical_xor:
    case MapOp::bit_and:
    case MapOp::bit_or:
    case MapOp::bit_xor:
    case MapOp::eq:
    case MapOp::ne: return true;
    default: return false;
  }
}

bool operator==(const MapInstr& a, const MapInstr& b) {
  return a.op == b.op && a.type == b.type && a.args == b.args && a.integer == b.integer &&
         std::bit_cast<uint64_t>(a.real) == std::bit_cast<uint64_t>(b.real);
}

bool MapProgram::uses_iota() const {
  return std::any_of(code_.begin(), code_.end(), [](const MapInstr& i) { return i.op == MapOp::iota; });
}

int MapProgram::push(MapInstr instr) {
  const auto it = std::find(code_.begin(), code_.end(), instr);
  if (it != code_.end()) return static_cast<int>(it - code_.begin());
  code_.push_back(instr);
  return static_cast<int>(code_.size()) - 1;
}

int MapProgram::input(int which, DType type) {
  num_inputs_ = std::max(num_inputs_, which + 1);
  return push({MapOp::input, type, {which, 0, 0}});
}

int MapProgram::constant(double value, DType type) {
  if (!is_float(type)) return constant_int(static_cast<int64_t>(value), type);
  MapInstr instr{MapOp::constant, type};
  instr.real = value;
  return push(instr);
}

int MapProgram::constant_int(int64_t value, DType type) {
  if (is_float(type)) return constant(static_cast<double>(value), type);
  MapInstr instr{MapOp::constant, type};
  instr.integer = value;
  return push(instr);
}

int MapProgram::iota(int axis_from_end) {
  LATHE_CHECK(axis_from_end < 0);
  return push({MapOp::iota, DType::i64, {axis_from_end, 0, 0}});
}

int MapProgram::dim(Dim value) {
  if (value.is_constant()) return constant_int(value.value(), DType::i64);
  const auto it = std::find(dims_.begin(), dims_.end(), value);
  const auto index = static_cast<int32_t>(it - dims_.begin());
  if (it == dims_.end()) dims_.push_back(std::move(value));
  return push({MapOp::dim, DType::i64, {index, 0, 0}});
}

int MapProgram::cast(int a, DType type) {
  if (code_[static_cast<size_t>(a)].type == type) return a;
  return push({MapOp::cast, type, {a, 0, 0}});
}

int MapProgram::unary(MapOp op, int a) {
  LATHE_CHECK(arity(op) == 1 && op != MapOp::cast && op != MapOp::cast_sat);
  return push({op, gives_bool(op) ? DType::boolean : code_[static_cast<size_t>(a)].type, {a, 0, 0}});
}

int MapProgram::binary(MapOp op, int a, int b) {
  LATHE_CHECK(arity(op) == 2);
  return push({op, gives_bool(op) ? DType::boolean : code_[static_cast<size_t>(a)].type, {a, b, 0}});
}

int MapProgram::select(int condition, int a, int b) {
  return push({MapOp::select, code_[static_cast<size_t>(a)].type, {condition, a, b}});
}

void MapProgram::finish(int index) {
  std::vector<int32_t> renumbered(code_.size(), -1);
  std::vector<MapInstr> kept;
  std::vector<Dim> dims;
  const auto keep = [&](MapInstr instr) {
    for (int a = 0; a < arity(instr.op); ++a) {
      auto& arg = instr.args[static_cast<size_t>(a)];
      arg = renumbered[static_cast<size_t>(arg)];
    }
    if (instr.op == MapOp::dim) {
      dims.push_back(dims_[static_cast<size_t>(instr.args[0])]);
      instr.args[0] = static_cast<int32_t>(dims.size()) - 1;
    }
    kept.push_back(instr);
    return static_cast<int32_t>(kept.size()) - 1;
  };
  std::vector<std::pair<int32_t, int>> path{{index, 0}};  // an instruction and how many of its operands are done
  while (!path.empty()) {
    auto& [at, done] = path.back();
    const MapInstr& instr = code_[static_cast<size_t>(at)];
    if (done == arity(instr.op)) {
      renumbered[static_cast<size_t>(at)] = keep(instr);
      path.pop_back();
    } else if (const int32_t arg = instr.args[static_cast<size_t>(done++)]; renumbered[static_cast<size_t>(arg)] < 0) {
      path.emplace_back(arg, 0);
    }
  }
  code_ = std::move(kept);
  dims_ = std::move(dims);
}

int MapProgram::inline_program(const MapProgram& other, const std::vector<int>& inputs) {
  std::vector<int32_t> renumbered;
  renumbered.reserve(other.code_.size());
  for (const MapInstr& original : other.code_) {
    MapInstr instr = original;
    int index = 0;
    if (instr.op == MapOp::input) {
      index = inputs[static_cast<size_t>(instr.args[0])];
    } else if (instr.op == MapOp::dim) {
      index = dim(other.dims_[static_cast<size_t>(instr.args[0])]);
    } else {
      for (int a = 0; a < arity(instr.op); ++a) {
        auto& arg = instr.args[static_cast<size_t>(a)];
        arg = renumbered[static_cast<size_t>(arg)];
      }
      index = push(instr);
    }
    renumbered.push_back(index);
  }
  return renumbered.back();
}

void MapProgram::verify(const std::vector<DType>& input_types) const {
  const auto bad = [&](size_t i, std::string_view why) {
    fail(ErrorCode::invalid_model, "map program: instruction {} ({}): {}", i, lathe::to_string(code_[i].op), why);
  };
  if (code_.empty()) fail(ErrorCode::invalid_model, "map program is empty");
  if (static_cast<size_t>(num_inputs_) != input_types.size())
    fail(ErrorCode::invalid_model, "map program takes {} inputs, {} are given", num_inputs_, input_types.size());
  for (size_t i = 0; i < code_.size(); ++i) {
    const MapInstr& in = code_[i];
    const int n = arity(in.op);
    for (int a = 0; a < n; ++a) {
      const int32_t arg = in.args[static_cast<size_t>(a)];
      if (arg < 0 || static_cast<size_t>(arg) >= i) bad(i, "an operand is not an earlier instruction");
    }
    const auto type_of = [&](int a) { return code_[static_cast<size_t>(in.args[static_cast<size_t>(a)])].type; };
    if (in.op == MapOp::input) {
      if (in.args[0] < 0 || in.args[0] >= num_inputs_) bad(i, "no such input");
      if (in.type != input_types[static_cast<size_t>(in.args[0])]) bad(i, "the input has another type");
    }
    if (in.op == MapOp::iota && in.args[0] >= 0) bad(i, "the axis must be negative");
    if (in.op == MapOp::dim && (in.args[0] < 0 || static_cast<size_t>(in.args[0]) >= dims_.size()))
      bad(i, "no such dimension");
    if (n == 2 && type_of(0) != type_of(1)) bad(i, "operand types differ");
    if (in.op == MapOp::select && (type_of(0) != DType::boolean || type_of(1) != type_of(2) || in.type != type_of(1)))
      bad(i, "needs a bool and two operands of one type");
    if (gives_bool(in.op) && in.type != DType::boolean) bad(i, "must give bool");
    if (n > 0 && n < 3 && !gives_bool(in.op) && in.op != MapOp::cast && in.op != MapOp::cast_sat &&
        in.type != type_of(0))
      bad(i, "must give its operand's type");
  }
}

MapProgram unary_program(MapOp op, DType type) {
  MapProgram p;
  p.finish(p.unary(op, p.input(0, type)));
  return p;
}

MapProgram binary_program(MapOp op, DType type) {
  MapProgram p;
  const int a = p.input(0, type), b = p.input(1, type);
  p.finish(p.binary(op, a, b));
  return p;
}

MapProgram cast_program(DType from, DType to) {
  MapProgram p;
  p.finish(p.push({MapOp::cast, to, {p.input(0, from), 0, 0}}));
  return p;
}

MapProgram identity_program(DType type) {
  MapProgram p;
  p.finish(p.input(0, type));
  return p;
}

}  // namespace lathe
