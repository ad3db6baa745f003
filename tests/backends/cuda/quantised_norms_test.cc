// Norms and the quantisation of their rows become one node that gives the same.
#include "backends/cuda/quantised_norms.h"

#include <gtest/gtest.h>

#include "graph/reference/evaluator.h"
#include "graph/text.h"
#include "graph/verifier.h"

namespace lathe::cuda {
namespace {

struct Case {
  std::string nodes, outputs;  // the latter a letter each
  int fused;
};

std::string returned(const std::string& outputs) {
  std::string text;
  for (const char name : outputs)
    text += (text.empty() ? "return %" : ", %") + std::string(1, name) + " as \"" + name + "\"";
  return text;
}

TEST(QuantisedNorms, KeepResults) {
  const std::string norm = "%y, %v = norm(%x, %g, _) {axis = 1, num_x = 1} ",
                    rows = "%q, %s, %o = dynamic_quantize(%y) {axis = 1, symmetric = true} ";
  for (const Case& c : std::vector<Case>{
           {norm + rows, "yvqs", 1},
           {norm + rows, "qs", 1},
           {norm + "%q, %s, %o = dynamic_quantize(%y) {axis = 1, floating = true}", "yqs", 1},
           {norm + rows + "%p, %t, %n = dynamic_quantize(%y) {axis = 1, floating = true}", "qspt", 1},
           {norm + "%q, %s, %o = dynamic_quantize(%y) {axis = 0, symmetric = true}", "qs", 0},  // one scale for all
           {norm + "%q, %s, %o = dynamic_quantize(%y) {axis = 1}", "qs", 0},                    // not around 0
           {norm + "%q, %s, %o = dynamic_quantize(%v) {axis = 1, symmetric = true}", "qs", 0},
           {norm + "%q, %s, %z = dynamic_quantize(%y) {axis = 1, symmetric = true}", "qsz", 0}}) {
    SCOPED_TRACE(c.nodes);
    const auto graph = parse_graph("graph (%x: f32[5, 24], %g: f32[24]) { " + c.nodes + returned(c.outputs) + " }");
    Tensor x(DType::f32, {5, 24}), g(DType::f32, {24});
    for (int64_t i = 0; i < x.elements(); ++i) x.write_double(i, static_cast<double>(i * 37 % 101) / 50 - 1);
    for (int64_t i = 0; i < g.elements(); ++i) g.write_double(i, static_cast<double>(i * 7 % 11) / 5 - 1);
    const std::vector<RefValue> inputs = {x, g};
    const auto before = evaluate(*graph, inputs);
    EXPECT_EQ(fuse_quantised_norms(*graph), c.fused);
    verify(*graph);
    const auto again = parse_graph(print(*graph));
    EXPECT_EQ(print(*again), print(*graph));
    const auto after = evaluate(*again, inputs);
    ASSERT_EQ(before.size(), after.size());
    for (size_t o = 0; o < before.size(); ++o) {
      const Tensor &expected = std::get<Tensor>(before[o]), &found = std::get<Tensor>(after[o]);
      ASSERT_EQ(expected.dims(), found.dims());
      ASSERT_EQ(expected.dtype(), found.dtype());
      for (int64_t i = 0; i < expected.elements(); ++i) ASSERT_EQ(expected.read_double(i), found.read_double(i)) << i;
    }
  }
}

}  // namespace
}  // namespace lathe::cuda
