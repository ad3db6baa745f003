#include "graph/map_program.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace lathe {
namespace {

// A type that the operation takes.
DType operand_type(MapOp op) {
  switch (op) {
    case MapOp::logical_not:
    case MapOp::logical_and:
    case MapOp::logical_or:
    case MapOp::logical_xor: return DType::boolean;
    case MapOp::bit_not:
    case MapOp::bit_and:
    case MapOp::bit_or:
    case MapOp::bit_xor:
    case MapOp::shift_left:
    case MapOp::shift_right: return DType::u8;
    default: return DType::f32;
  }
}

TEST(MapProgram, EveryOperationPrintsAndParses) {
  for (int i = static_cast<int>(MapOp::cast); i < kMapOpCount; ++i) {
    const auto op = static_cast<MapOp>(i);
    const DType type = operand_type(op);
    MapProgram p;
    std::vector<DType> types{type, type, DType::boolean};
    const int a = p.input(0, type), b = p.input(1, type), c = p.input(2, DType::boolean);
    int result = 0;
    if (op == MapOp::cast || op == MapOp::cast_sat)
      result = p.push({op, DType::i4, {a, 0, 0}});
    else if (op == MapOp::select)
      result = p.select(c, a, b);
    else
      result = arity(op) == 1 ? p.unary(op, a) : p.binary(op, a, b);
    p.finish(result);
    EXPECT_NO_THROW(p.verify(types)) << to_string(op);
    EXPECT_EQ(MapProgram::parse(p.to_string(), types), p) << p.to_string();
  }
}

TEST(MapProgram, LeavesAndSharedValuesPrintAndParse) {
  const std::vector<DType> types{DType::f32, DType::i64};
  for (const std::string_view text : {
           "(x0, x1) => { t0 = exp(x0); div(t0, add(t0, 2.5:f32)) }",
           "(x0, x1) => select(lt(x1, iota(-1)), x0, -inf:f32)",
           "(x0, x1) => select(ge(dim(2*n - 1), iota(-2)), nan:f32, -0:f32)",
           "(x0, x1) => cast<f16>(x0)",
           "(x0, x1) => cast_sat<u8>(add(x1, -9223372036854775808:i64))",
           "(x0, x1) => 1:bool",
       }) {
    const MapProgram p = MapProgram::parse(text, types);
    EXPECT_EQ(p.to_string(), text);
    EXPECT_NO_THROW(p.verify(types));
  }
}

TEST(MapProgram, EqualInstructionsAreShared) {
  MapProgram p;
  const int x = p.input(0, DType::f32);
  EXPECT_EQ(p.unary(MapOp::exp, x), p.unary(MapOp::exp, x));
  EXPECT_NE(p.constant(0.0, DType::f32), p.constant(-0.0, DType::f32));
  EXPECT_EQ(p.cast(x, DType::f32), x);
}

TEST(MapProgram, FinishDropsWhatIsNotNeeded) {
  MapProgram p;
  const int x = p.input(0, DType::f32), unused = p.dim(Dim::symbol("k"));
  static_cast<void>(unused);
  p.finish(p.binary(MapOp::add, x, p.cast(p.dim(Dim::symbol("n")), DType::f32)));
  EXPECT_EQ(p.dims(), std::vector<Dim>{Dim::symbol("n")});
  EXPECT_EQ(p.to_string(), "(x0) => add(x0, cast<f32>(dim(n)))");
}

TEST(MapProgram, TheOrderOfBuildingDoesNotMatter) {
  MapProgram p, q;
  const int p0 = p.input(0, DType::f32), p1 = p.unary(MapOp::exp, p.input(1, DType::f32));
  p.finish(p.binary(MapOp::sub, p.unary(MapOp::neg, p0), p1));
  const int q1 = q.unary(MapOp::exp, q.input(1, DType::f32)), q0 = q.input(0, DType::f32);
  q.finish(q.binary(MapOp::sub, q.unary(MapOp::neg, q0), q1));
  EXPECT_EQ(p, q);
}

TEST(MapProgram, InlineReplacesInputs) {
  MapProgram p;
  const int a = p.input(0, DType::f32), b = p.input(1, DType::f32);
  p.finish(p.inline_program(MapProgram::parse("(x0, x1) => sub(x1, x0)", {DType::f32, DType::f32}), {b, a}));
  EXPECT_EQ(p.to_string(), "(x0, x1) => sub(x0, x1)");
}

TEST(MapProgram, BadTextIsAnError) {
  const std::vector<DType> types{DType::f32};
  for (const std::string_view text :
       {"", "(x0)", "() => x0", "(x0) => x1", "(x0) => add(x0)", "(x0) => foo(x0)", "(x0) => 1:f99", "(x0) => x:f32",
        "(x0) => iota(0)", "(x0) => cast(x0)", "(x0) => x0 x0", "(x0) => { t0 = exp(x0) t0 }", "(x0) => dim(2 +)"})
    EXPECT_THROW(MapProgram::parse(text, types), Error) << text;
  std::string deep = "(x0) => ";
  for (int i = 0; i < 100000; ++i) deep += "neg(";
  EXPECT_THROW(MapProgram::parse(deep, types), Error);
}

TEST(MapProgram, VerifyFindsTypeErrors) {
  const auto fails = [](MapInstr last, std::vector<DType> types) {
    MapProgram p;
    for (size_t i = 0; i < types.size(); ++i) p.input(static_cast<int>(i), types[i]);
    p.push(last);
    EXPECT_THROW(p.verify(types), Error) << p.to_string();
  };
  fails({MapOp::add, DType::f32, {0, 1, 0}}, {DType::f32, DType::f16});
  fails({MapOp::add, DType::f16, {0, 1, 0}}, {DType::f32, DType::f32});
  fails({MapOp::lt, DType::f32, {0, 1, 0}}, {DType::f32, DType::f32});
  fails({MapOp::select, DType::f32, {0, 0, 0}}, {DType::f32});
  fails({MapOp::iota, DType::i64, {0, 0, 0}}, {DType::f32});
  fails({MapOp::dim, DType::i64, {3, 0, 0}}, {DType::f32});
  fails({MapOp::input, DType::f32, {0, 0, 0}}, {DType::i8});
  EXPECT_THROW(MapProgram().verify({}), Error);
  EXPECT_THROW(identity_program(DType::f32).verify({DType::f32, DType::f32}), Error);
}

}  // namespace
}  // namespace lathe
