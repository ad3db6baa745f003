// Numbers leave the epilogues of products of bytes, which are equal then and compute the same.
#include "backends/cuda/lift_constants.h"

#include <gtest/gtest.h>

#include "graph/reference/evaluator.h"
#include "graph/text.h"
#include "graph/verifier.h"

namespace lathe::cuda {
namespace {

std::unique_ptr<Graph> product(const std::string& type, const std::string& epilogue) {
  return parse_graph("graph (%x: " + type + "[3, 32]) { %w = constant {value = " + type + "[32, 5] splat(7)} " +
                     "%s = constant {value = f32[5] random(2)} %y = matmul(%x, %w, %s) {epilogue = (x0, x1) => " +
                     epilogue + "} return %y as \"y\" }");
}

std::string program_of(const Graph& graph) { return graph.nodes().back()->as<MatMul>()->epilogue.to_string(); }

TEST(LiftConstants, ProgramsBecomeEqual) {
  const auto epilogue = [](const std::string& scale, const std::string& zero) {
    return "cast_sat<u8>(round(add(mul(mul(cast<f32>(sub(x0, " + zero + ":i32)), x1), " + scale + ":f32), 9:f32)))";
  };
  const auto a = product("i8", epilogue("20", "3")), b = product("i8", epilogue("0.5", "70"));
  Tensor x(DType::i8, {3, 32});
  for (int64_t i = 0; i < x.elements(); ++i) x.write_int(i, i * 37 % 201 - 100);
  for (Graph* graph : {a.get(), b.get()}) {
    const auto before = evaluate(*graph, {{x}});
    EXPECT_EQ(lift_constants(*graph), 1);
    verify(*graph);
    EXPECT_EQ(lift_constants(*graph), 0);
    const auto after = evaluate(*graph, {{x}});
    const Tensor &expected = std::get<Tensor>(before[0]), &found = std::get<Tensor>(after[0]);
    for (int64_t i = 0; i < expected.elements(); ++i) EXPECT_EQ(expected.read_int(i), found.read_int(i)) << i;
  }
  EXPECT_EQ(program_of(*a), program_of(*b));
}

TEST(LiftConstants, LeavesFloatsAlone) {
  const auto graph = product("f32", "mul(add(x0, x1), 3:f32)");
  EXPECT_EQ(lift_constants(*graph), 0);
}

// There are places for eight operands beside the product.
TEST(LiftConstants, StopsWhereOperandsEnd) {
  std::string epilogue = "mul(cast<f32>(x0), x1)";
  for (int i = 2; i < 12; ++i) epilogue = "add(" + epilogue + ", " + std::to_string(i) + ":f32)";
  const auto graph = product("i8", epilogue);
  EXPECT_EQ(lift_constants(*graph), 1);
  verify(*graph);
  EXPECT_EQ(graph->nodes().back()->inputs().size(), 2u + 8);
}

}  // namespace
}  // namespace lathe::cuda
