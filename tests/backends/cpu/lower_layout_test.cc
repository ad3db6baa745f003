// The layout pass: where areas of channels-last values begin and end, and that the result stays the same.
#include "backends/channels_last.h"

#include <set>

#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class LowerLayout : public LowerTest {};
LATHE_FOR_EACH_DEVICE(LowerLayout);

const std::string kConvs =
    "%w = constant {value = f32[8, 8, 3, 3] random(1)} %b = constant {value = f32[8, 1, 1] random(2)} "
    "%c = conv(%x, %w, %b) {strides = [1, 1], dilations = [1, 1], pads = [1, 1, 1, 1], epilogue = (x0, x1) => "
    "relu(add(x0, x1))} ";
const std::string kHead = "(%x: f32[n, 8, h, w]) { " + kConvs;
const std::string kAgain = " %z = conv(%y, %w) {strides = [2, 2], dilations = [1, 1], pads = [1, 1, 1, 1]} return %z }";

template <class T>
int count(const Graph& graph) {
  int n = 0;
  for (const auto& node : graph.nodes()) n += node->is<T>() ? 1 : 0;
  return n;
}

int transposes_after(const std::string& text) {
  const auto graph = graph_of(text);
  use_channels_last(*graph, {});
  return count<Transpose>(*graph);
}

// What may stand between two convolutions without a transpose.
const std::vector<std::string> kInside = {
    "%y = map(%c) {program = (x0) => silu(x0)}",
    "%y = map(%c, %b) {program = (x0, x1) => mul(x0, x1)}",
    "%y = map(%c, %c) {program = (x0, x1) => add(x0, mul(x1, cast<f32>(iota(-3))))}",
    "%p = reduce(%c) {kind = mean, axes = [2, 3]} %y = map(%c, %p) {program = (x0, x1) => mul(x0, sigmoid(x1))}",
    "%y = pool(%c) {kernel = [3, 3], strides = [2, 2], dilations = [1, 1], pads = [1, 1, 1, 1]}",
    "%y = resize(%c) {mode = linear, axes = [2, 3], sizes = [2*h, 2*w]}",
    "%y = pad(%c) {begins = [0, 0, 1, 2], ends = [0, 0, 0, 1]}",
    "%s = slice(%c) {axes = [1, 3], starts = [1, 0], sizes = [4, w], steps = [1, 1]} %y = concat(%s, %s) {axis = 1}",
    "%y = softmax(%c) {axis = 1}",
    "%y = conv_transpose(%c, %w, %b) {strides = [2, 2], dilations = [1, 1], pads = [1, 1, 1, 1], output_padding = "
    "[1, 0], epilogue = (x0, x1) => relu(add(x0, x1))}",
    "%t = transpose(%c) {perm = [0, 2, 3, 1]} %u = map(%t) {program = (x0) => exp(x0)} %y = transpose(%u) {perm = [0, "
    "3, 1, 2]}",
};

TEST_P(LowerLayout, AreasKeepTheirValues) {
  for (const std::string& inside : kInside) check(kHead + inside + kAgain, {floats({2, 8, 6, 7})});
}

TEST_P(LowerLayout, WholeNetworks) {
  check(kHead +
            "%y = conv(%c, %w, %c, %b) {strides = [1, 1], dilations = [1, 1], pads = [1, 1, 1, 1], epilogue = (x0, x1, "
            "x2) => relu(add(add(x0, x2), x1))} "
            "%p = reduce(%y) {kind = mean, axes = [2, 3], keep_dims = false} %k = constant {value = f32[8, 5] "
            "random(3)} %o = matmul(%p, %k) return %o, %y }",
        {floats({2, 8, 6, 7})});
  check(
      "(%x: f32[n, 8, h, w]) { %w = constant {value = f32[8, 1, 3, 3] random(1)} %y = conv(%x, %w) {strides = [1, 1], "
      "dilations = [1, 1], pads = [1, 1, 1, 1], groups = 8} "
      "%f = reshape(%y) {shape = [n, 8*h*w]} return %f, %x }",
      {floats({2, 8, 6, 7})});
  check(kHead +
            "%y = pool(%c) {kernel = [2, 2], strides = [1, 1], dilations = [1, 1], pads = [0, 0, 0, 0]} "
            "%m, %i = pool(%c) {kernel = [2, 2], strides = [1, 1], dilations = [1, 1], pads = [0, 0, 0, 0]} return %y, "
            "%m, %i }",
        {floats({2, 8, 6, 7})});
  check(kHead +
            "%q = constant {value = f32[1, 8, 6, 7] random(4)} %y = map(%c, %q) {program = (x0, x1) => add(x0, x1)} "
            "return %y }",
        {floats({2, 8, 6, 7})});
  check(
      "(%x: f32[n, 8, t]) { %w = constant {value = f32[8, 8, 3] random(1)} %y = conv(%x, %w) {strides = [1], dilations "
      "= [2], pads = [2, 2]} "
      "%z = conv(%y, %w) {strides = [1], dilations = [1], pads = [0, 0]} return %z }",
      {floats({2, 8, 12})});
}

TEST(ChannelsLast, AreasHaveNoTransposesInside) {
  for (const std::string& inside : kInside) EXPECT_EQ(transposes_after(kHead + inside + kAgain), 1) << inside;
}

TEST(ChannelsLast, ValuesKeepTheirNamesInBothOrders) {
  const auto graph = graph_of(kHead +
                              "%y = map(%c) {program = (x0) => silu(x0)} %s = softmax(%c) {axis = 3, safe = true} "
                              "return %y, %s }");
  use_channels_last(*graph);
  std::set<std::string> names;
  for (const auto& node : graph->nodes())
    for (const Value* value : node->outputs()) names.insert(value->name());
  for (const char* name : {"c", "c:channels_last", "y", "y:channels_last", "s"})
    EXPECT_EQ(names.count(name), 1u) << name;
  EXPECT_EQ(graph->outputs()[0]->name(), "y");
  EXPECT_TRUE(graph->outputs()[0]->producer()->is<Transpose>());
}

TEST(ChannelsLast, GraphsWithoutConvolutionsStay) {
  EXPECT_EQ(transposes_after("(%x: f32[n, 8, h, w]) { %y = pool(%x) {kernel = [2, 2], strides = [1, 1], dilations = "
                             "[1, 1], pads = [0, 0, 0, 0]} return %y }"),
            0);
}

TEST(ChannelsLast, GlobalPoolsLeaveTheAreaForNothing) {
  EXPECT_EQ(transposes_after(
                kHead + "%p = reduce(%c) {kind = mean, axes = [2, 3]} %f = reshape(%p) {shape = [n, 8]} return %f }"),
            0);
}

}  // namespace
}  // namespace lathe::cpu
