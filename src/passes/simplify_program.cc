// Algebra on one map program: a peephole rebuild, instruction by instruction, each in terms of simplified operands.
#include <cmath>
#include <optional>

#include "graph/reference/evaluator.h"
#include "passes/map_writer.h"

namespace lathe::passes {
namespace {

class Simplifier {
 public:
  explicit Simplifier(const MapProgram& source) : source_(source) {}

  MapProgram run() {
    out_.set_num_inputs(source_.num_inputs());
    std::vector<int> result;
    for (const MapInstr& original : source_.code()) {
      MapInstr in = original;
      if (in.op == MapOp::dim) {
        result.push_back(out_.dim(source_.dims()[static_cast<size_t>(in.args[0])]));
        continue;
      }
      for (int a = 0; a < arity(in.op); ++a) {
        auto& arg = in.args[static_cast<size_t>(a)];
        arg = result[static_cast<size_t>(arg)];
      }
      result.push_back(emit(in));
    }
    out_.finish(result.back());
    return std::move(out_);
  }

 private:
  const MapInstr& at(int i) const { return out_.code()[static_cast<size_t>(i)]; }
  bool is_constant(int i) const { return at(i).op == MapOp::constant; }
  // The number that an instruction always gives; integers that a double cannot hold count as unknown.
  std::optional<double> number(int i) const {
    if (!is_constant(i)) return std::nullopt;
    if (is_float(at(i).type)) return at(i).real;
    if (std::abs(at(i).integer) > (int64_t{1} << 53)) return std::nullopt;
    return static_cast<double>(at(i).integer);
  }
  bool is_number(int i, double value) const { return number(i) == value; }

  int emit(MapInstr in) {
    const int n = arity(in.op);
    if (n == 0) return out_.push(in);
    bool constant = true;
    for (int a = 0; a < n; ++a) constant = constant && is_constant(in.args[static_cast<size_t>(a)]);
    if (constant)
      if (const std::optional<int> folded = fold(in)) return *folded;
    std::optional<int> simple;
    if (in.op == MapOp::cast || in.op == MapOp::cast_sat)
      simple = simplify_cast(in);
    else if (n == 1)
      simple = simplify_unary(in);
    else if (n == 2)
      simple = simplify_binary(in);
    else
      simple = simplify_select(in);
    return simple ? *simple : out_.push(in);
  }

  // Computes an instruction whose operands are constants, by the reference evaluator, so that rounding is the same.
  std::optional<int> fold(const MapInstr& in) {
    if (bit_width(in.type) < 8 || in.type == DType::string) return std::nullopt;
    Map map;
    std::vector<int> args;
    MapInstr copy = in;
    for (int a = 0; a < arity(in.op); ++a)
      copy.args[static_cast<size_t>(a)] = map.program.push(at(in.args[static_cast<size_t>(a)]));
    map.program.finish(map.program.push(copy));
    map.shape = Shape{};
    SymbolBindings none;
    const Tensor value = std::get<Tensor>(evaluate_op(map, {}, 1, none).front());
    if (is_float(in.type)) return out_.constant(value.read_double(0), in.type);
    return out_.constant_int(value.read_int(0), in.type);
  }

  std::optional<int> simplify_cast(const MapInstr& in) {
    const int a = in.args[0];
    const DType from = at(a).type;
    if (from == in.type) return a;
    // cast(cast(x)): the inner one is needless when it only widens.
    if (at(a).op == MapOp::cast && in.op == MapOp::cast && widens(at(at(a).args[0]).type, from)) {
      MapInstr direct = in;
      direct.args[0] = at(a).args[0];
      return emit(direct);
    }
    return std::nullopt;
  }

  // Every value of `from` is a value of `to`, with the same casts to any third type.
  static bool widens(DType from, DType to) {
    if (from == to || from == DType::boolean) return true;
    if (is_float(from) && (to == DType::f32 || to == DType::f64)) return bit_width(from) < bit_width(to);
    if (is_signed_int(from) && is_signed_int(to)) return bit_width(from) < bit_width(to);
    if (is_unsigned_int(from) && is_integer(to)) return bit_width(from) < bit_width(to);
    return false;
  }

  std::optional<int> simplify_unary(const MapInstr& in) {
    const MapInstr arg = at(in.args[0]);
    switch (in.op) {
      case MapOp::neg:
      case MapOp::logical_not:
      case MapOp::bit_not:
        if (arg.op == in.op) return arg.args[0];
        break;
      case MapOp::abs:
      case MapOp::relu:
      case MapOp::floor:
      case MapOp::ceil:
      case MapOp::round:
      case MapOp::trunc:
        if (arg.op == in.op) return in.args[0];
        if (!is_float(in.type) && in.op != MapOp::abs && in.op != MapOp::relu) return in.args[0];
        break;
      default: break;
    }
    return std::nullopt;
  }

  std::optional<int> simplify_binary(const MapInstr& in) {
    const int a = in.args[0], b = in.args[1];
    switch (in.op) {
      case MapOp::add:
        if (is_number(b, 0)) return a;
        if (is_number(a, 0)) return b;
        break;
      case MapOp::sub:
        if (is_number(b, 0)) return a;
        break;
      case MapOp::mul: return simplify_product(in);
      case MapOp::div:
        if (is_number(b, 1)) return a;
        return exact_reciprocal(in);
      case MapOp::pow: return simplify_power(in);
      case MapOp::min:
      case MapOp::max:
        if (a == b) return a;
        break;
      case MapOp::logical_and:
      case MapOp::logical_or: return simplify_logic(in);
      case MapOp::eq:
      case MapOp::ne: return simplify_equality(in);
      default: break;
    }
    return std::nullopt;
  }

  std::optional<int> simplify_product(const MapInstr& in) {
    const int a = in.args[0], b = in.args[1];
    if (is_number(b, 1)) return a;
    if (is_number(a, 1)) return b;
    if (!is_float(in.type) && (is_number(a, 0) || is_number(b, 0))) return out_.constant_int(0, in.type);
    return std::nullopt;
  }

  // Division by a power of two is a multiplication, without any change of rounding.
  std::optional<int> exact_reciprocal(const MapInstr& in) {
    const std::optional<double> c = number(in.args[1]);
    if (!c || !is_float(in.type) || *c == 0 || !std::isfinite(*c)) return std::nullopt;
    int exponent = 0;
    if (std::abs(std::frexp(*c, &exponent)) != 0.5 || std::abs(exponent) > 14) return std::nullopt;
    return emit({MapOp::mul, in.type, {in.args[0], out_.constant(1 / *c, in.type), 0}});
  }

  std::optional<int> simplify_power(const MapInstr& in) {
    const std::optional<double> c = number(in.args[1]);
    if (!c || !is_float(in.type)) return std::nullopt;
    const int x = in.args[0];
    if (*c == 1) return x;
    if (*c == 2) return out_.binary(MapOp::mul, x, x);
    if (*c == 3) return out_.binary(MapOp::mul, out_.binary(MapOp::mul, x, x), x);
    if (*c == 0.5) return out_.unary(MapOp::sqrt, x);
    if (*c == -1) return out_.unary(MapOp::reciprocal, x);
    if (*c == -0.5) return out_.unary(MapOp::reciprocal, out_.unary(MapOp::sqrt, x));
    return std::nullopt;
  }

  std::optional<int> simplify_logic(const MapInstr& in) {
    const bool is_and = in.op == MapOp::logical_and;
    for (int side = 0; side < 2; ++side) {
      const int a = in.args[static_cast<size_t>(side)], b = in.args[static_cast<size_t>(1 - side)];
      if (is_number(a, is_and ? 1 : 0)) return b;
      if (is_number(a, is_and ? 0 : 1)) return a;
    }
    if (in.args[0] == in.args[1]) return in.args[0];
    return std::nullopt;
  }

  // Exporters ask `cast<i64>(flag) != 0` and the like.
  std::optional<int> simplify_equality(const MapInstr& in) {
    for (int side = 0; side < 2; ++side) {
      const int a = in.args[static_cast<size_t>(side)], b = in.args[static_cast<size_t>(1 - side)];
      const bool from_bool = at(a).op == MapOp::cast && at(at(a).args[0]).type == DType::boolean;
      const int flag = from_bool ? at(a).args[0] : a;
      if (at(flag).type != DType::boolean || !number(b)) continue;
      if (!is_number(b, 0) && !is_number(b, 1)) continue;
      const bool keep = (in.op == MapOp::ne) == is_number(b, 0);
      return keep ? flag : emit({MapOp::logical_not, DType::boolean, {flag, 0, 0}});
    }
    return std::nullopt;
  }

  std::optional<int> simplify_select(const MapInstr& in) {
    if (is_constant(in.args[0])) return is_number(in.args[0], 0) ? in.args[2] : in.args[1];
    if (in.args[1] == in.args[2]) return in.args[1];
    if (at(in.args[0]).op == MapOp::logical_not)
      return emit({MapOp::select, in.type, {at(in.args[0]).args[0], in.args[2], in.args[1]}});
    return std::nullopt;
  }

  const MapProgram& source_;
  MapProgram out_;
};

}  // namespace

MapProgram simplify_program(const MapProgram& program) { return Simplifier(program).run(); }

}  // namespace lathe::passes
