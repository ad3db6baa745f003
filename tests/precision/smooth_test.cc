// Outliers move from a norm's result into the weights behind it, and the graph computes the same.
#include "precision/smooth.h"

#include <gtest/gtest.h>

#include "graph/text.h"
#include "passes/rewrite.h"
#include "tests/passes/pass_test.h"

namespace lathe::precision {
namespace {

const PrecisionSupport kCpu{.types = {DType::i8}, .asymmetric_bytes = true};

std::string model(const std::string& result) {
  return R"(graph (%x: f32[n, 4]) {
  %scale = constant {value = f32[4] [100, 1, 1, 1]}
  %bias = constant {value = f32[4] random(2)}
  %v = constant {value = f32[4, 3] random(3)}
  %w = constant {value = f32[2, 4] random(4)}
  %y = norm(%x, %scale, %bias) {axis = 1}
  %a = matmul(%y, %v)
  %b = matmul(%y, %w) {trans_b = true}
  return %a as "a", %b as "b")" +
         result + "\n}";
}

int smoothed(Graph& graph, ColumnMaxima columns = {}, const Ranges& fixed = {}) {
  const Batches batches = {{{"x", Tensor::of<float>({2, 4}, {1, -2, 3, 0.5f, 2, 1, -1, 4})}}};
  return smooth(graph, find_layers(graph, kCpu, {.types = {DType::i8}}), {}, batches, 0.5, fixed, columns);
}

TEST(Smooth, KeepsTheResultAndEvensTheColumns) {
  const auto before = parse_graph(model(""));
  const auto after = before->clone();
  EXPECT_EQ(smoothed(*after), 1);
  verify(*after);
  EXPECT_LE(passes::max_difference(*before, *after, {{"n", 5}}), 1e-3);
  for (const auto& node : after->nodes()) {
    if (!node->is<Norm>()) continue;
    EXPECT_LT(passes::constant_tensor(node->input(1))->read_double(0), 50);
  }
}

TEST(Smooth, LeavesNormsThatOthersRead) {
  const auto graph = parse_graph(model(", %y as \"y\""));
  EXPECT_EQ(smoothed(*graph), 0);
}

TEST(Smooth, KnownColumnsAreNotMeasuredAgain) {
  const auto text = [](const ColumnMaxima& columns) {
    const auto graph = parse_graph(model(""));
    EXPECT_EQ(smoothed(*graph, columns), 1);
    return print(*graph);
  };
  EXPECT_NE(text({{"y", {1, 1, 1, 1}}}), text({}));
  EXPECT_EQ(text({{"y", {1, 1, 1}}}), text({})) << "not those of this norm";
}

TEST(Smooth, LeavesNormsWhoseRangesAreSettled) {
  const auto graph = parse_graph(model(""));
  EXPECT_EQ(smoothed(*graph, {}, {{"y", {-1, 1}}}), 0);
  EXPECT_EQ(smoothed(*graph, {{"y", {1, 1, 1, 1}}}, {{"y", {-1, 1}}}), 1) << "the range is that of the smoothed norm";
}

}  // namespace
}  // namespace lathe::precision
