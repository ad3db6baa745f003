// The operators behind the op `extern`.
#include "graph/infer.h"
#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

Extern op_of(std::string kernel, std::vector<int64_t> integers = {}, std::vector<double> numbers = {},
             std::vector<std::string> texts = {}) {
  return {std::move(kernel), std::move(integers), std::move(numbers), std::move(texts), {}};
}

Tensor words(Sizes dims, std::vector<std::string> values) {
  return Tensor::of_strings(std::move(dims), std::move(values));
}

TEST(ReferenceExtern, UnknownOperatorsAndWrongListsAreErrors) {
  SymbolSource symbols;
  const Type matrix = Type::tensor(DType::f32, {2, 2});
  const Type* inputs[] = {&matrix};
  EXPECT_THROW(infer(op_of("nothing"), inputs, 1, symbols), Error);
  EXPECT_THROW(infer(op_of("det", {1}), inputs, 1, symbols), Error);
  EXPECT_THROW(infer(op_of("unique"), inputs, 1, symbols), Error);
  EXPECT_EQ(to_string(infer(op_of("det"), inputs, 1, symbols)[0]), "f32[]");
}

TEST(ReferenceExtern, BitsReadAsAnotherType) {
  expect_values(run1(op_of("bit_cast", {static_cast<int64_t>(DType::i32)}), {floats({2}, {1, -0.0f})}), {2},
                {0x3f800000, -2147483648.0});
  SymbolSource symbols;
  const Type x = Type::tensor(DType::f32, {2});
  const Type* inputs[] = {&x};
  EXPECT_THROW(infer(op_of("bit_cast", {static_cast<int64_t>(DType::i64)}), inputs, 1, symbols), Error);
  EXPECT_THROW(infer(op_of("bit_cast", {-1}), inputs, 1, symbols), Error);
}

TEST(ReferenceExtern, Determinants) {
  expect_values(run1(op_of("det"), {floats({2, 2, 2}, {1, 2, 3, 4, 0, 1, 1, 0})}), {2}, {-2, -1});
  expect_values(run1(op_of("det"), {floats({3, 3}, {1, 2, 3, 2, 4, 6, 0, 0, 1})}), {}, {0});
  expect_values(run1(op_of("det"), {Tensor(DType::f32, {0, 0})}), {}, {1});  // the empty product
}

TEST(ReferenceExtern, DistinctElements) {
  const Tensor x = floats({6}, {2, 1, 1, kNan, 4, kNan});
  auto r = run(op_of("unique", {1, 0, 0}), {x}, 4);
  expect_values(std::get<Tensor>(r[0]), {4}, {1, 2, 4, kNan});
  expect_values(std::get<Tensor>(r[1]), {4}, {1, 0, 4, 3});
  expect_values(std::get<Tensor>(r[2]), {6}, {1, 0, 0, 3, 2, 3});
  expect_values(std::get<Tensor>(r[3]), {4}, {2, 1, 1, 2});
  r = run(op_of("unique", {0, 0, 0}), {x}, 3);  // in the order of first appearance
  expect_values(std::get<Tensor>(r[0]), {4}, {2, 1, kNan, 4});
  expect_values(std::get<Tensor>(r[2]), {6}, {0, 1, 1, 2, 3, 2});
  r = run(op_of("unique", {1, 1, 1}), {floats({2, 3}, {1, 0, 1, 2, 3, 2})}, 1);  // columns
  expect_values(std::get<Tensor>(r[0]), {2, 2}, {0, 1, 3, 2});
  r = run(op_of("unique", {1, 0, 0}), {Tensor(DType::f32, {0})}, 4);
  EXPECT_EQ(std::get<Tensor>(r[0]).dims(), (Sizes{0}));
  EXPECT_EQ(std::get<Tensor>(run(op_of("unique", {1, 0, 0}), {words({3}, {"b", "a", "b"})}, 1)[0]),
            words({2}, {"a", "b"}));
}

TEST(ReferenceExtern, GridSampleOutsideOfTheImage) {
  const Tensor image = floats({1, 1, 1, 3}, {1, 2, 3});
  const Tensor grid = floats({1, 1, 5, 2}, {-1, 0, 1, 0, 2, 0, -3, 0, kNan, 0});
  const auto sampled = [&](int64_t mode, int64_t padding) {
    return run1(op_of("grid_sample", {mode, padding, 1}), {image, grid});  // places 0, 2, 3, -2, none
  };
  expect_values(sampled(1, 0), {1, 1, 1, 5}, {1, 3, 0, 0, 0});
  expect_values(sampled(1, 1), {1, 1, 1, 5}, {1, 3, 3, 1, 0});
  expect_values(sampled(1, 2), {1, 1, 1, 5}, {1, 3, 2, 3, 0});  // mirrored at the outermost pixels
  expect_values(sampled(0, 2), {1, 1, 1, 5}, {1, 3, 2, 3, 0});
  expect_values(sampled(2, 1), {1, 1, 1, 5}, {1, 3, 3, 1, 0});
}

TEST(ReferenceExtern, RegionsOfNothingAndOutsideAreZero) {
  const Tensor image = counting({1, 1, 4, 4}), batch = ints({2}, {0, 0});
  const Extern op = op_of("roi_align", {0, 1, 1, 2, 1}, {1.0});
  expect_values(run1(op, {image, floats({2, 4}, {0, 0, 4, 4, 50, 50, 60, 60}), batch}), {2, 1, 1, 1}, {8.5, 0});
  EXPECT_EQ(run1(op, {image, Tensor(DType::f32, {0, 4}), Tensor(DType::i64, {0})}).dims(), (Sizes{0, 1, 1, 1}));
  expect_error(ErrorCode::invalid_argument, "outside an axis of 1", [&] {
    run1(op, {image, Tensor(DType::f32, {1, 4}), ints({1}, {7})});
  });
}

TEST(ReferenceExtern, ADeformedConvolutionWithoutOffsetsIsAConvolution) {
  const Tensor x = noise({1, 4, 5, 6}, 1), w = noise({2, 2, 3, 2}, 2), offset(DType::f32, {1, 24, 3, 3});
  Conv conv;
  conv.strides = {2, 2};
  conv.dilations = {1, 1};
  conv.pads = {1, 0, 1, 0};
  conv.groups = 2;
  const Tensor expected = run1(conv, {x, w});
  const Tensor actual = run1(op_of("deform_conv", {2, 2, 2, 2, 1, 1, 1, 0}), {x, w, offset});
  ASSERT_EQ(actual.dims(), expected.dims());
  for (int64_t i = 0; i < expected.elements(); ++i) EXPECT_NEAR(actual.read_double(i), expected.read_double(i), 1e-5);
}

TEST(ReferenceExtern, Strings) {
  EXPECT_EQ(run1(op_of("string_concat"), {words({2, 1}, {"a", "b"}), words({2}, {"x", ""})}),
            words({2, 2}, {"ax", "a", "bx", "b"}));
  const auto split = [](std::vector<int64_t> most, std::string delimiter, Tensor x) {
    return run1(op_of("string_split", std::move(most), {}, {std::move(delimiter)}), {std::move(x)});
  };
  EXPECT_EQ(split({-1}, ",", words({2}, {"a,,b", ""})), words({2, 3}, {"a", "", "b", "", "", ""}));
  EXPECT_EQ(split({1}, "", words({1}, {"  a  b c "})), words({1, 2}, {"a", "b c "}));
  EXPECT_EQ(split({-1}, "", words({0}, {})).dims(), (Sizes{0, 0}));
  const Extern upper = op_of("string_normalize", {1, 0}, {}, {"monday"});
  EXPECT_EQ(run1(upper, {words({1, 3}, {"Monday", "tue", "é"})}), words({1, 2}, {"TUE", "é"}));
  EXPECT_EQ(run1(upper, {words({1}, {"Monday"})}), words({1}, {""}));
}

TEST(ReferenceExtern, NGramsOfHostileFiles) {
  const auto count = [](Tensor pool, Tensor starts) {
    return run1(op_of("ngram_scores", {2, 1, 2, 0, 0, 0, 1}, {1, 1}),
                {ints({3}, {5, 6, 5}), std::move(pool), std::move(starts)});
  };
  expect_values(count(ints({3}, {5, 6, 5}), ints({2}, {0, 1})), {2}, {2, 1});
  const auto expect_refused = [&](std::vector<int64_t> starts, const char* reason) {
    expect_error(ErrorCode::invalid_model, reason, [&] { count(ints({3}, {5, 6, 5}), ints({2}, starts)); });
  };
  expect_refused({0, 2}, "no whole 2-grams");
  expect_refused({1, 0}, "no whole 1-grams");
  expect_refused({0, 9}, "no whole 1-grams");
  expect_refused({0, 3}, "holds 3 n-grams, 2 have weights");
  SymbolSource symbols;
  const Type x = Type::tensor(DType::i64, {3}), *inputs[] = {&x, &x, &x};
  EXPECT_THROW(infer(op_of("ngram_scores", {2, 1, 2, 0, 0, 0, 2}, {1, 1}), inputs, 1, symbols),
               Error);  // column 2 of 2
  EXPECT_THROW(infer(op_of("ngram_scores", {2, 0, 2, 0, 0, 0, 1}, {1, 1}), inputs, 1, symbols), Error);
}

TEST(ReferenceExtern, ProbabilitiesOfPairsBecomeThoseOfClasses) {
  const Extern op = op_of("coupled_probabilities", {3});
  const Tensor even = run1(op, {floats({1, 3}, {0.5, 0.5, 0.5})});
  for (int64_t i = 0; i < 3; ++i) EXPECT_NEAR(even.read_double(i), 1.0 / 3, 1e-6);
  // Pairs that agree with each other: 0.5, 0.3, 0.2.
  const Tensor p = run1(op, {floats({1, 3}, {0.625F, 0.5F / 0.7F, 0.6F})});
  EXPECT_NEAR(p.read_double(0), 0.5, 5e-3);
  EXPECT_NEAR(p.read_double(2), 0.2, 5e-3);
  EXPECT_EQ(run1(op, {Tensor(DType::f32, {0, 3})}).dims(), (Sizes{0, 3}));
}

TEST(ReferenceExtern, DictionariesOfAnyTypes) {
  const auto look_up = [](bool strict, Tensor x, Tensor keys, Tensor values, Tensor other) {
    return run1(op_of("lookup", {strict}), {std::move(x), std::move(keys), std::move(values), std::move(other)});
  };
  EXPECT_EQ(look_up(false, words({1, 3}, {"b", "?", "a"}), words({2}, {"a", "b"}), ints({2}, {7, 8}), ints({1}, {-1})),
            ints({1, 3}, {8, -1, 7}));
  EXPECT_EQ(look_up(false, floats({3}, {kNan, 1, kInf}), floats({3}, {1, kNan, 1}), words({3}, {"one", "nan", "two"}),
                    words({1}, {"other"})),
            words({3}, {"nan", "one", "other"}));
  EXPECT_EQ(look_up(true, ints({0}, {}), ints({0}, {}), floats({0}, {}), floats({1}, {0})).dims(), (Sizes{0}));
  expect_error(ErrorCode::invalid_argument, "element 1 is none of the 2 categories", [&] {
    look_up(true, ints({2}, {5, 4}), ints({2}, {5, 6}), ints({2}, {0, 1}), ints({1}, {0}));
  });
}

// One tree: x[1] <= 0.5 ? leaf 0 : (x[0] == 3 ? leaf 1 : leaf 2); another is leaf 0 alone.
TEST(ReferenceExtern, DecisionTrees) {
  const auto doubles = [](std::vector<double> values) {
    return Tensor::of<double>({static_cast<int64_t>(values.size())}, std::span<const double>(values));
  };
  const auto run_trees = [&](int64_t how, Tensor x, std::vector<int64_t> nodes) {
    return run1(op_of("decision_trees", {2, how}),
                {std::move(x), ints({2, 5}, std::move(nodes)), doubles({0.5, 3}), ints({2}, {0, -1}),
                 ints({4}, {0, 1, 3, 4}), ints({4}, {0, 0, 1, 1}), doubles({1, 10, 20, 30})});
  };
  const std::vector<int64_t> nodes = {0, 1, -1, 1, 1, 4, 0, -2, -3, 0};
  const Tensor x = floats({4, 2}, {0, 0.5, 3, 1, 4, 1, 0, kNan});
  expect_values(run_trees(0, x, nodes), {4, 2}, {2, 0, 11, 20, 1, 30, 2, 0});
  expect_values(run_trees(1, x, nodes), {4, 2}, {1, 0, 5.5, 10, 0.5, 15, 1, 0});
  expect_values(run_trees(2, x, nodes), {4, 2}, {1, 0, 1, 20, 1, 30, 1, 0});
  expect_values(run_trees(3, x, nodes), {4, 2}, {1, 0, 10, 20, 1, 30, 1, 0});
  EXPECT_EQ(run_trees(0, Tensor(DType::i64, {0, 2}), nodes), Tensor(DType::f32, {0, 2}));
  const std::vector<int64_t> unequal = {0, 1, -1, 1, 1, 5, 0, -2, -3, 0};  // what is no number equals none
  expect_values(run_trees(0, floats({1, 2}, {kNan, 1}), unequal), {1, 2}, {11, 20});
  for (const auto& [place, value, reason] :
       {std::tuple{3, 0, "cycle"}, {3, 2, "part 2 of 2"}, {1, 2, "part 2 of 2"}, {2, -4, "part 3 of 3"}}) {
    std::vector<int64_t> hostile = nodes;
    hostile[static_cast<size_t>(place)] = value;
    expect_error(ErrorCode::invalid_model, reason, [&] { run_trees(0, floats({2, 2}, {0, 1, 0, 0}), hostile); });
  }
}

}  // namespace
}  // namespace lathe
