#include "tools/random_inputs.h"

#include <gtest/gtest.h>

#include <cmath>

#include "graph/text.h"

namespace lathe::tools {
namespace {

Tensor make(const Graph& graph, size_t input, std::vector<int64_t> dims, uint64_t seed = 0) {
  const Value& value = *graph.inputs()[input];
  return random_input(value, dims, {{value.name(), dims}}, seed);
}

TEST(RandomInputs, IdsStayInsideTheTable) {
  const auto graph = parse_graph(R"(graph g(%input_ids: i32[n]) {
    %table = constant {value = f32[7, 2] splat(0)}
    %rows = gather(%table, %input_ids) {axis = 0} : f32[n, 2]
    return %rows as "y"
  })");
  const Tensor ids = make(*graph, 0, {1000});
  int64_t smallest = 7, largest = 0;
  for (int64_t i = 0; i < ids.elements(); ++i) {
    smallest = std::min(smallest, ids.read_int(i));
    largest = std::max(largest, ids.read_int(i));
  }
  EXPECT_EQ(smallest, 0);
  EXPECT_EQ(largest, 6);
  EXPECT_EQ(ids, make(*graph, 0, {1000}));
  EXPECT_FALSE(ids == make(*graph, 0, {1000}, 1));
}

TEST(RandomInputs, MasksTypesPositionsAndLengths) {
  const auto graph =
      parse_graph(R"(graph g(%attention_mask: i64[n, s], %token_type_ids: i64[n, s], %position_ids: i64[n, s],
                                            %lengths: i64[n], %flag: bool[]) {
    return %attention_mask as "y"
  })");
  EXPECT_EQ(make(*graph, 0, {1, 3}), Tensor::of<int64_t>({1, 3}, {1, 1, 1}));
  EXPECT_EQ(make(*graph, 1, {1, 3}), Tensor::of<int64_t>({1, 3}, {0, 0, 0}));
  EXPECT_EQ(make(*graph, 2, {2, 3}), Tensor::of<int64_t>({2, 3}, {0, 1, 2, 0, 1, 2}));
  const Sizes sizes = {{"attention_mask", {2, 5}}, {"lengths", {2}}};
  EXPECT_EQ(random_input(*graph->inputs()[3], {2}, sizes, 0), Tensor::of<int64_t>({2}, {5, 5}));
  EXPECT_EQ(make(*graph, 4, {}), Tensor::of<bool>({}, {true}));
}

TEST(RandomInputs, RowsOfMasksMayBeShorter) {
  const auto graph =
      parse_graph("graph g(%attention_mask: i64[n, s], %other_mask: f32[n, s]) { return %other_mask as \"y\" }");
  const auto halves = [&](size_t input) {
    return random_input(*graph->inputs()[input], {400, 9}, {}, 3, Lengths::half);
  };
  const Tensor mask = halves(0), other = halves(1);
  int64_t ones = 0;
  for (int64_t i = 0; i < mask.elements(); ++i) {
    ones += mask.read_int(i);
    EXPECT_EQ(other.read_double(i), static_cast<double>(mask.read_int(i)));
    if (i % 9 == 0)
      EXPECT_EQ(mask.read_int(i), 1);
    else
      EXPECT_LE(mask.read_int(i), mask.read_int(i - 1));
  }
  EXPECT_NEAR(static_cast<double>(ones) / 400, 4.5, 0.1);
  EXPECT_FALSE(mask.read_int(8) == 1 && mask.read_int(9 + 8) == 0) << "rows in order";
}

TEST(RandomInputs, FewElementsAreOneTwoFour) {
  const auto graph = parse_graph("graph g(%attention_mask: i64[n, s]) { return %attention_mask as \"y\" }");
  EXPECT_EQ(random_input(*graph->inputs()[0], {4, 5}, {}, 3, Lengths::few),
            Tensor::of<int64_t>({4, 5}, {1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1}));
}

TEST(RandomInputs, NumbersAreNormal) {
  const auto graph = parse_graph("graph g(%x: f32[n], %h: f16[n]) { return %x as \"y\" }");
  const Tensor x = make(*graph, 0, {10000});
  double sum = 0, squares = 0;
  for (const float value : x.as<float>()) {
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  EXPECT_NEAR(sum / 10000, 0, 0.05);
  EXPECT_NEAR(squares / 10000, 1, 0.05);
  EXPECT_NE(make(*graph, 1, {4}).read_double(0), 0);
  EXPECT_EQ(make(*graph, 0, {0}).elements(), 0);
}

TEST(RandomInputs, TheSameEverywhere) {
  Random random(42);
  EXPECT_EQ(random.next(), 13679457532755275413ULL);  // first number of splitmix64 seeded with 42
}

}  // namespace
}  // namespace lathe::tools
