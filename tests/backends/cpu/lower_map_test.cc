// Lowering of expression programs: every operation and type that the interpreter has against the reference, and the
// ways in which operands can broadcast.
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class LowerMap : public LowerTest {
 protected:
  void map(const std::string& inputs, const std::string& program, const std::vector<Tensor>& values,
           const std::string& more = "", double tolerance = 2e-5) {
    std::string names;
    for (size_t i = 0; i < values.size(); ++i) names += (i == 0 ? "%x" : ", %x") + std::to_string(i);
    check("(" + inputs + ") { %y = map(" + names + ") {program = " + program + more + "} return %y }", values,
          {tolerance, true, {}});
  }
};
LATHE_FOR_EACH_DEVICE(LowerMap);

constexpr DType kNumbers[] = {DType::f32, DType::f64, DType::i64, DType::i32, DType::i16,
                              DType::i8,  DType::u64, DType::u32, DType::u16, DType::u8};

bool takes(MapOp op, DType type) {
  const bool real = is_float(type);
  if (op == MapOp::bit_not || (op >= MapOp::bit_and && op <= MapOp::shift_right))
    return !real && type != DType::boolean;
  if (op == MapOp::logical_not || (op >= MapOp::logical_and && op <= MapOp::logical_xor)) return type == DType::boolean;
  if (type == DType::boolean) return op == MapOp::eq || op == MapOp::ne;
  const bool integers = (op >= MapOp::neg && op <= MapOp::sign) || op == MapOp::relu ||
                        (op >= MapOp::add && op <= MapOp::max && op != MapOp::pow) ||
                        (op >= MapOp::eq && op <= MapOp::ge);
  return real || integers;
}

TEST_P(LowerMap, EveryOperationOnEveryType) {
  for (const DType type : {DType::f32, DType::f64, DType::i64, DType::i32, DType::i16, DType::i8, DType::u64,
                           DType::u32, DType::u16, DType::u8, DType::boolean}) {
    const std::string name(to_string(type));
    // Positive values only for logarithms and powers; 600 elements are more than a block.
    const double low = is_unsigned_int(type) || type == DType::boolean ? 0 : (is_float(type) ? 0.1 : -90),
                 high = type == DType::boolean ? 1 : (is_float(type) ? 0.9 : 100);
    const Tensor a = random_tensor(type, {600}, 1, low, high), b = random_tensor(type, {600}, 2, low, high);
    for (int i = static_cast<int>(MapOp::neg); i < static_cast<int>(MapOp::select); ++i) {
      const auto op = static_cast<MapOp>(i);
      if (!takes(op, type)) continue;
      const std::string call(to_string(op));
      if (arity(op) == 1)
        map("%x0: " + name + "[n]", "(x0) => " + call + "(x0)", {a});
      else
        map("%x0: " + name + "[n], %x1: " + name + "[n]", "(x0, x1) => " + call + "(x0, x1)", {a, b});
    }
  }
}

TEST_P(LowerMap, SpecialFloats) {
  const float inf = INFINITY, nan = NAN;
  const Tensor x = Tensor::of<float>({9}, {0.0f, -0.0f, inf, -inf, nan, 1e-40f, -3.5f, 2.5f, 1e30f});
  for (const std::string op : {"neg", "abs", "sign", "floor", "ceil", "round", "trunc", "sqrt", "reciprocal", "exp",
                               "tanh", "erf", "sigmoid", "relu", "is_nan", "is_inf", "log"})
    map("%x0: f32[n]", "(x0) => " + op + "(x0)", {x});
  const Tensor y = Tensor::of<float>({9}, {nan, 0.0f, inf, inf, 1.0f, -1e-40f, nan, 0.0f, 1e30f});
  for (const std::string op : {"add", "sub", "mul", "div", "min", "max", "eq", "ne", "lt", "le", "gt", "ge"})
    map("%x0: f32[n], %x1: f32[n]", "(x0, x1) => " + op + "(x0, x1)", {x, y});
}

TEST_P(LowerMap, Casts) {
  std::vector<DType> types(std::begin(kNumbers), std::end(kNumbers));
  types.push_back(DType::boolean);
  for (const DType from : types) {
    const Tensor x = random_tensor(from, {70}, 3, is_unsigned_int(from) || from == DType::boolean ? 0 : -100,
                                   from == DType::boolean ? 1 : 100);
    for (const DType to : types) {
      if (is_float(from) && is_unsigned_int(to)) continue;  // of negative floats, which is not specified
      map("%x0: " + std::string(to_string(from)) + "[n]", "(x0) => cast<" + std::string(to_string(to)) + ">(x0)", {x});
    }
  }
}

TEST_P(LowerMap, SelectAndLogic) {
  map("%x0: bool[n], %x1: i64[n], %x2: i64[]", "(x0, x1, x2) => select(x0, x1, x2)",
      {random_tensor(DType::boolean, {99}, 1, 0, 1), ids({99}, 50), ids({}, 7)});
  map("%x0: f32[n], %x1: f32[n]",
      "(x0, x1) => select(logical_and(lt(x0, x1), logical_not(gt(x0, 0:f32))), x0, mul(x1, 3:f32))",
      {floats({700}, 1), floats({700}, 2)});
}

TEST_P(LowerMap, Broadcasting) {
  const std::string add = "(x0, x1) => add(x0, x1)";
  for (const auto& [a, b] : std::vector<std::pair<Sizes, Sizes>>{{{3, 4, 5}, {5}},
                                                                 {{3, 4, 5}, {4, 1}},
                                                                 {{3, 1, 5}, {1, 4, 1}},
                                                                 {{1}, {2, 3}},
                                                                 {{}, {7, 130}},
                                                                 {{2, 1, 600}, {2, 3, 1}},
                                                                 {{0, 4}, {4}},
                                                                 {{2, 700}, {2, 700}},
                                                                 {{5, 1, 2, 3}, {4, 1, 3}}}) {
    const auto shape = [](const Sizes& s) { return to_string(s); };
    map("%x0: f32" + shape(a) + ", %x1: f32" + shape(b), add, {floats(a, 1), floats(b, 2)});
    map("%x0: i64" + shape(a) + ", %x1: i64" + shape(b), add, {ids(a, 99, 1), ids(b, 99, 2)});
  }
}

TEST_P(LowerMap, ShapesIotaAndDims) {
  map("%x0: f32[n]", "(x0) => x0", {floats({5})}, ", shape = [3, 4, n]");
  map("%x0: f32[n, m]", "(x0) => add(x0, cast<f32>(add(iota(-1), mul(iota(-2), dim(m)))))", {floats({5, 130})});
  map("%x0: f32[n, m]", "(x0) => select(le(iota(-1), iota(-2)), x0, -inf:f32)", {floats({40, 40})});
  check("(%x: f32[n]) { %y = map {program = () => mul(iota(-1), dim(n)), shape = [n + 700]} return %y }",
        {floats({3})});
}

TEST_P(LowerMap, LongProgramsReuseRegisters) {
  std::string program = "x0";
  for (int i = 0; i < 60; ++i) program = "add(mul(" + program + ", 0.5:f32), x1)";
  map("%x0: f32[n], %x1: f32[n]", "(x0, x1) => " + program, {floats({1000}, 1), floats({1000}, 2)});
}

// Halves are computed in f32 when the graph is legalised, and rounded after each instruction when it is not.
TEST_P(LowerMap, Halves) {
  for (const std::string type : {"f16", "bf16"}) {
    const DType dtype = *dtype_from_string(type);
    const Tensor a = random_tensor(dtype, {3, 300}, 1), b = random_tensor(dtype, {300}, 2);
    const std::string text = "(%x0: " + type + "[n, 300], %x1: " + type +
                             "[300]) { %y = map(%x0, %x1) {program = (x0, x1) => mul(add(x0, x1), x0)} return %y }";
    check(text, {a, b}, {2e-2, true, {}});
    check(text, {a, b}, {0, false, {}});
  }
}

}  // namespace
}  // namespace lathe::cpu
