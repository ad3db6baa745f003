#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

Tensor apply(MapOp op, const Tensor& x) { return run1(Map{unary_program(op, x.dtype()), {}}, {x}); }
Tensor apply(MapOp op, const Tensor& x, const Tensor& y) {
  return run1(Map{binary_program(op, x.dtype()), {}}, {x, y});
}
Tensor cast(const Tensor& x, DType to, bool saturate = false) {
  MapProgram p;
  p.finish(p.push({saturate ? MapOp::cast_sat : MapOp::cast, to, {p.input(0, x.dtype()), 0, 0}}));
  return run1(Map{p, {}}, {x});
}

TEST(ReferenceMap, BroadcastsFromTheLastAxis) {
  const Tensor y = apply(MapOp::add, floats({2, 1, 3}, {0, 1, 2, 10, 11, 12}), floats({2, 1}, {100, 200}));
  expect_values(y, {2, 2, 3}, {100, 101, 102, 200, 201, 202, 110, 111, 112, 210, 211, 212});
}

TEST(ReferenceMap, RefusesShapesThatDoNotBroadcast) {
  expect_error(ErrorCode::invalid_argument, "[2] and [3]", [] {
    apply(MapOp::add, floats({2}, {1, 2}), counting({3}));
  });
}

TEST(ReferenceMap, ExpandsOverStretchesOfTheIndexSpace) {
  const Map expand{identity_program(DType::f32), Shape{3, 5000, 2}};
  const Tensor y = run1(expand, {counting({5000, 1})});
  ASSERT_EQ(y.dims(), (Sizes{3, 5000, 2}));
  for (const int64_t i : {0, 4095, 4096, 9999, 10000, 29999}) EXPECT_EQ(y.read_double(i), i / 2 % 5000 + 1) << i;
}

TEST(ReferenceMap, CountsWithIotaAndDimensions) {
  MapProgram range;  // 3 + 2 * i, then an upper triangle with n on its diagonal
  range.finish(range.binary(MapOp::add, range.constant_int(3, DType::i64),
                            range.binary(MapOp::mul, range.iota(-1), range.constant_int(2, DType::i64))));
  expect_values(run1(Map{range, Shape{4}}, {}), {4}, {3, 5, 7, 9});
  MapProgram diagonal;
  diagonal.finish(diagonal.select(diagonal.binary(MapOp::eq, diagonal.iota(-2), diagonal.iota(-1)),
                                  diagonal.dim(Dim::symbol("n")), diagonal.constant_int(0, DType::i64)));
  SymbolBindings symbols;
  symbols.bind("n", 9);
  const auto y = evaluate_op(Map{diagonal, Shape{2, 3}}, {}, 1, symbols);
  expect_values(std::get<Tensor>(y[0]), {2, 3}, {9, 0, 0, 0, 9, 0});
}

TEST(ReferenceMap, EmptyTensorsGiveEmptyTensors) {
  EXPECT_EQ(apply(MapOp::exp, Tensor(DType::f32, {0, 3})).dims(), (Sizes{0, 3}));
  EXPECT_EQ(apply(MapOp::add, Tensor(DType::f32, {0, 3}), counting({1})).dims(), (Sizes{0, 3}));
}

TEST(ReferenceMap, NanAndInfinity) {
  const Tensor special = floats({4}, {kNan, kInf, -kInf, -0.0f});
  expect_values(apply(MapOp::relu, special), {4}, {kNan, kInf, 0, 0});
  expect_values(apply(MapOp::sign, special), {4}, {kNan, 1, -1, 0});
  expect_values(apply(MapOp::max, special, floats({1}, {1})), {4}, {kNan, kInf, 1, 1});
  expect_values(apply(MapOp::min, floats({1}, {1}), special), {4}, {kNan, 1, -kInf, 0});
  expect_values(apply(MapOp::eq, special, special), {4}, {0, 1, 1, 1});
  expect_values(apply(MapOp::is_nan, special), {4}, {1, 0, 0, 0});
  expect_values(apply(MapOp::is_inf, special), {4}, {0, 1, 1, 0});
  expect_values(apply(MapOp::softplus, special), {4}, {kNan, kInf, 0, std::log(2.0)});
  expect_values(apply(MapOp::sigmoid, special), {4}, {kNan, 1, 0, 0.5});
}

TEST(ReferenceMap, RoundsHalfToEvenAndKeepsModulusSigns) {
  expect_values(apply(MapOp::round, floats({4}, {0.5f, 1.5f, 2.5f, -2.5f})), {4}, {0, 2, 2, -2});
  const Tensor a = floats({4}, {5, -5, 5, -5}), b = floats({4}, {3, 3, -3, -3});
  expect_values(apply(MapOp::floor_mod, a, b), {4}, {2, 1, -1, -2});
  expect_values(apply(MapOp::trunc_mod, a, b), {4}, {2, -2, 2, -2});
  const Tensor c = ints({4}, {5, -5, 5, -5}), d = ints({4}, {3, 3, -3, -3});
  expect_values(apply(MapOp::floor_mod, c, d), {4}, {2, 1, -1, -2});
  expect_values(apply(MapOp::trunc_mod, c, d), {4}, {2, -2, 2, -2});
}

TEST(ReferenceMap, ActivationsFollowTheirFormulas) {
  const Tensor x = floats({3}, {-1, 0.5f, 2});
  const auto each = [&](double (*f)(double)) { return std::vector<double>{f(-1), f(0.5), f(2)}; };
  expect_values(apply(MapOp::gelu_erf, x), {3},
                each([](double v) { return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))); }));
  expect_values(apply(MapOp::gelu_tanh, x), {3}, each([](double v) {
                  return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
                }));
  expect_values(apply(MapOp::silu, x), {3}, each([](double v) { return v / (1 + std::exp(-v)); }));
  expect_values(apply(MapOp::mish, x), {3}, each([](double v) { return v * std::tanh(std::log(1 + std::exp(v))); }));
  expect_values(apply(MapOp::hard_swish, floats({3}, {-4, 1, 4})), {3}, {0, 1 * (1 / 6.0 + 0.5), 4});
}

TEST(ReferenceMap, IntegersWrapAndDivisionByZeroGivesZero) {
  const Tensor bytes = Tensor::of<int8_t>({3}, {127, -128, 10});
  expect_values(apply(MapOp::add, bytes, Tensor::of<int8_t>({1}, {1})), {3}, {-128, -127, 11});
  expect_values(apply(MapOp::neg, bytes), {3}, {-127, -128, -10});
  expect_values(apply(MapOp::div, bytes, Tensor::of<int8_t>({3}, {0, -1, -3})), {3}, {0, -128, -3});
  const int64_t lowest = std::numeric_limits<int64_t>::min();
  EXPECT_EQ(apply(MapOp::div, ints({1}, {lowest}), ints({1}, {-1})).read_int(0), lowest);
  EXPECT_EQ(apply(MapOp::mul, ints({1}, {lowest}), ints({1}, {3})).read_int(0), lowest);
  const Tensor large = Tensor::of<uint64_t>({1}, {uint64_t{1} << 63});
  EXPECT_EQ(apply(MapOp::div, large, Tensor::of<uint64_t>({1}, {2})).as<uint64_t>()[0], uint64_t{1} << 62);
  EXPECT_EQ(apply(MapOp::gt, large, Tensor::of<uint64_t>({1}, {1})).read_int(0), 1);
  EXPECT_EQ(apply(MapOp::shift_left, Tensor::of<uint8_t>({3}, {1, 255, 1}), Tensor::of<uint8_t>({3}, {7, 1, 8})),
            Tensor::of<uint8_t>({3}, {128, 254, 0}));
  EXPECT_EQ(apply(MapOp::pow, ints({4}, {3, -2, 2, -1}), ints({4}, {4, 3, -1, -3})), ints({4}, {81, -8, 0, -1}));
}

TEST(ReferenceMap, CastsTruncateSaturateAndWrap) {
  const Tensor x = floats({6}, {1.9f, -1.9f, 300, -300, kNan, kInf});
  EXPECT_EQ(cast(x, DType::u8), (Tensor::of<uint8_t>({6}, {1, 0, 255, 0, 0, 255})));
  expect_values(cast(x, DType::boolean), {6}, {1, 1, 1, 1, 1, 1});
  EXPECT_EQ(cast(ints({2}, {300, -1}), DType::u8), (Tensor::of<uint8_t>({2}, {44, 255})));
  EXPECT_EQ(cast(ints({2}, {300, -1}), DType::u8, true), (Tensor::of<uint8_t>({2}, {255, 0})));
  expect_values(cast(floats({2}, {9, -9}), DType::i4), {2}, {-7, 7});
  expect_values(cast(floats({2}, {9, -9}), DType::i4, true), {2}, {7, -8});
  // 2^60 + 2^36 + 1 lies just above the middle of two floats, which a way over double would lose.
  const int64_t above = (int64_t{1} << 60) + (int64_t{1} << 36) + 1;
  EXPECT_EQ(cast(ints({1}, {above}), DType::f32).as<float>()[0], 0x1p60f + 0x1p37f);
}

TEST(ReferenceMap, NarrowFloatsRoundAfterEachInstruction) {
  expect_values(cast(floats({4}, {1e5f, 448, 0.001953125f, kNan}), DType::f8e4m3), {4}, {kNan, 448, 0.001953125, kNan});
  expect_values(cast(floats({1}, {1e5f}), DType::f8e4m3, true), {1}, {448});
  expect_values(cast(floats({1}, {1e6f}), DType::f16), {1}, {kInf});
  MapProgram p;  // (2048 + 1) + 1 in f16: each sum falls back to 2048
  const int one = p.constant(1, DType::f16);
  p.finish(p.binary(MapOp::add, p.binary(MapOp::add, p.input(0, DType::f16), one), one));
  expect_values(run1(Map{p, {}}, {cast(floats({1}, {2048}), DType::f16)}), {1}, {2048});
}

TEST(ReferenceMap, SelectsAndComparesStrings) {
  const Tensor names = Tensor::of_strings({2}, {"a", "b"}), other = Tensor::of_strings({1}, {"b"});
  expect_values(apply(MapOp::eq, names, other), {2}, {0, 1});
  MapProgram p;
  const int condition = p.input(0, DType::boolean), a = p.input(1, DType::string), b = p.input(2, DType::string);
  p.finish(p.select(condition, a, b));
  EXPECT_EQ(run1(Map{p, {}}, {Tensor::of<bool>({2}, {true, false}), names, Tensor::of_strings({}, {"z"})}),
            Tensor::of_strings({2}, {"a", "z"}));
}

TEST(ReferenceMap, RefusesWhatATypeDoesNotHave) {
  expect_error(ErrorCode::invalid_model, "sqrt is not defined on i64", [] { apply(MapOp::sqrt, ints({1}, {4})); });
  expect_error(ErrorCode::invalid_model, "another type", [] {
    run1(Map{unary_program(MapOp::neg, DType::f32), {}}, {ints({1}, {4})});
  });
}

}  // namespace
}  // namespace lathe
