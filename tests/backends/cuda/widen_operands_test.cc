// Operands in 16 bits beside others in f32 become f32, and give the same.
#include "backends/cuda/widen_operands.h"

#include <gtest/gtest.h>

#include "graph/reference/evaluator.h"
#include "graph/text.h"
#include "graph/verifier.h"

namespace lathe::cuda {
namespace {

int constants(const Graph& graph, DType type) {
  return static_cast<int>(std::count_if(graph.nodes().begin(), graph.nodes().end(), [&](const auto& node) {
    return node->template is<Constant>() && node->output()->dtype() == type;
  }));
}

TEST(WidenOperands, ConstantsOnceAndWhatIsComputedByAStep) {
  const auto graph = parse_graph(R"(graph (%i: i64[3], %h: f16[4, 2]) {
    %table = constant {value = f16[5, 4] random(1)}
    %gain = constant {value = f32[4] random(2)}
    %narrow = constant {value = f16[4] random(3)}
    %x = embedding(%i, %table, %gain)
    %a = matmul(%x, %table) {trans_b = true}
    %b = matmul(%x, %h)
    %kept = map(%narrow) {program = (x0) => neg(x0)}
    return %a as "a", %b as "b", %kept as "kept"
  })");
  Tensor h(DType::f16, {4, 2});
  for (int64_t i = 0; i < h.elements(); ++i) h.write_double(i, 0.25 * static_cast<double>(i) - 1);
  const std::vector<RefValue> inputs = {Tensor::of<int64_t>({3}, {4, 0, 2}), h};
  const std::vector<RefValue> before = evaluate(*graph, inputs);
  EXPECT_EQ(widen_operands(*graph), 2);
  verify(*graph);
  EXPECT_EQ(constants(*graph, DType::f16), 2) << print(*graph);
  EXPECT_EQ(constants(*graph, DType::f32), 2) << print(*graph);
  EXPECT_EQ(evaluate(*graph, inputs), before);
  EXPECT_EQ(widen_operands(*graph), 0);
}

// As in models whose file holds f16 for f32: no run widens a whole table.
TEST(WidenOperands, TablesThatTheModelWidensStayNarrow) {
  const auto graph = parse_graph(R"(graph (%i: i64[3]) {
    %words = constant {value = f16[5, 4] random(1)}
    %kinds = constant {value = f32[2, 4] random(2)}
    %gain = constant {value = f32[4] random(3)}
    %wide = map(%words) {program = (x0) => cast<f32>(x0)}
    %x = embedding(%i, %wide, %i, %kinds, %gain) {num_tables = 2}
    %rows = gather(%wide, %i) {axis = 0}
    %all = map(%wide) {program = (x0) => neg(x0)}
    %other = map(%words) {program = (x0) => cast<f32>(neg(x0))}
    return %x as "x", %rows as "rows", %all as "all", %other as "other"
  })");
  const std::vector<RefValue> inputs = {Tensor::of<int64_t>({3}, {1, 0, 1})};
  const std::vector<RefValue> before = evaluate(*graph, inputs);
  EXPECT_EQ(widen_operands(*graph), 3);
  verify(*graph);
  for (const auto& node : graph->nodes()) {
    if (!node->is<Embedding>() && !node->is<Gather>()) continue;
    EXPECT_EQ(node->input(node->is<Embedding>() ? 1 : 0)->dtype(), DType::f16) << print(*graph);
  }
  EXPECT_EQ(constants(*graph, DType::f32), 3) << print(*graph);
  EXPECT_EQ(evaluate(*graph, inputs), before);
  EXPECT_EQ(widen_operands(*graph), 0);
}

}  // namespace
}  // namespace lathe::cuda
