// Convolutions with paddings of all kinds give the same with a step of its own for what kernels cannot pad.
#include "backends/cuda/separate_pads.h"

#include <gtest/gtest.h>

#include "graph/reference/evaluator.h"
#include "graph/text.h"

namespace lathe::cuda {
namespace {

Tensor numbers(const Value& like) {
  std::vector<int64_t> dims;
  for (const Dim& dim : like.shape()) dims.push_back(dim.value());
  Tensor tensor(like.dtype(), std::move(dims));
  for (int64_t i = 0; i < tensor.elements(); ++i) tensor.write_double(i, static_cast<double>(i * 37 % 101 + 1));
  return tensor;
}

struct Case {
  std::string x, w, fields;
  int changed;         // convolutions
  std::string expect;  // of the graph afterwards
};

TEST(SeparatePads, KeepsResults) {
  for (const Case& c : std::vector<Case>{
           {"f32[2, 4, 9, 8]", "f32[6, 4, 3, 3]", "pads = [0, 1, 1, 2]", 1, "pads = [0, 1, 0, 1]"},
           {"f32[2, 4, 9, 8]", "f32[6, 4, 3, 3]", "pads = [1, 2, 1, 2]", 0, "pads = [1, 2, 1, 2]"},
           {"f32[2, 9, 8, 4]", "f32[6, 4, 3, 3]", "pads = [2, 1, 1, 0], channels_last = true", 1,
            "begins = [0, 1, 1, 0]"},
           {"f32[2, 4, 9, 8]", "f32[4, 1, 3, 3]", "pads = [0, 1, 1, 2], groups = 4", 0, "pads = [0, 1, 1, 2]"},
           {"u8[2, 4, 9, 8]", "i8[6, 4, 3, 3]", "pads = [1, 1, 1, 1], pad_value = 128", 1, "ends = [0, 0, 1, 1]"},
           {"u8[2, 4, 9, 8]", "i8[6, 4, 3, 3]", "pads = [0, 0, 0, 0], pad_value = 128", 0, "conv"},
           {"u8[2, 4, 9, 8]", "i8[6, 4, 3, 3]", "pads = [0, 1, 1, 2]", 0, "pads = [0, 1, 1, 2]"}}) {
    SCOPED_TRACE(c.fields);
    const auto graph = parse_graph("graph (%x: " + c.x + ", %w: " + c.w +
                                   ") { %y = conv(%x, %w) {strides = [2, 1], dilations = [1, 1], " + c.fields +
                                   "} return %y as \"y\" }");
    const std::vector<RefValue> inputs = {numbers(*graph->inputs()[0]), numbers(*graph->inputs()[1])};
    const Tensor before = std::get<Tensor>(evaluate(*graph, inputs)[0]);
    EXPECT_EQ(separate_pads(*graph), c.changed);
    EXPECT_NE(print(*graph).find(c.expect), std::string::npos) << print(*graph);
    const Tensor after = std::get<Tensor>(evaluate(*graph, inputs)[0]);
    ASSERT_EQ(before.dims(), after.dims());
    for (int64_t i = 0; i < before.elements(); ++i) ASSERT_EQ(before.read_double(i), after.read_double(i)) << i;
    EXPECT_EQ(separate_pads(*graph), 0);
  }
}

}  // namespace
}  // namespace lathe::cuda
