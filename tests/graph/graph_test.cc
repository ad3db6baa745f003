#include "graph/graph.h"

#include <gmock/gmock.h>

#include <random>

#include "base/error.h"
#include "graph/build.h"
#include "graph/symbols.h"
#include "graph/text.h"
#include "graph/verifier.h"
#include "tests/graph/every_op.h"

namespace lathe {
namespace {

Type vec(int64_t n) { return Type::tensor(DType::f32, {n}); }

TEST(Graph, NamesAreUniqueAndNeverMeanAnotherValue) {
  Graph g;
  Value* x = g.add_input("x", vec(2));
  Value* a = g.emit(Softmax{0}, {x});
  Value* b = g.emit(Softmax{0}, {x});
  EXPECT_EQ(a->name(), "softmax");
  EXPECT_EQ(b->name(), "softmax_1");
  g.rename(b, "x");
  EXPECT_EQ(b->name(), "x_1");
  g.erase(a->producer());
  EXPECT_EQ(g.emit(Softmax{0}, {x})->name(), "softmax_2");
  EXPECT_EQ(g.emit(Softmax{0}, {x}, "layer.1")->name(), "layer.1:softmax");
  EXPECT_EQ(g.add_input("", vec(1))->name(), "value");
}

TEST(Graph, AReplacementTakesOverAGivenName) {
  Graph g;
  Value* x = g.add_input("x", vec(2));
  Value* sum = g.emit(Softmax{0}, {x});
  g.rename(sum, "sum");
  EXPECT_TRUE(sum->is_named());
  Value* fused = g.emit(Softmax{0}, {x}, "fused");
  EXPECT_FALSE(fused->is_named());
  g.replace_uses(sum, fused);
  EXPECT_EQ(fused->name(), "sum");
  EXPECT_TRUE(fused->is_named());
  EXPECT_EQ(sum->name(), "fused:softmax");

  Value* again = g.emit(Softmax{0}, {x});  // and once more, as passes follow each other
  g.replace_uses(fused, again);
  EXPECT_EQ(again->name(), "sum");
  g.replace_uses(again, x);  // a value that has a name keeps it
  EXPECT_EQ(x->name(), "x");
  EXPECT_EQ(again->name(), "sum");
}

TEST(Graph, CopiesKnowWhichNamesWereGiven) {
  Graph g;
  Value* x = g.add_input("x", vec(2));
  g.add_output(g.emit(Softmax{0}, {x}), "y");
  const auto copy = g.clone();
  EXPECT_TRUE(copy->inputs()[0]->is_named());
  EXPECT_FALSE(copy->outputs()[0]->is_named());
}

TEST(Graph, ReplaceUsesMovesDoubleUsesAndOutputs) {
  Graph g;
  Value *x = g.add_input("x", vec(2)), *y = g.add_input("y", vec(2));
  Value* sum = map2(g, MapOp::add, x, x);
  g.add_output(x, "a");
  g.add_output(sum, "b");
  g.replace_uses(x, y);
  EXPECT_TRUE(x->is_unused());
  EXPECT_EQ(y->users().size(), 2u);
  EXPECT_EQ(g.outputs()[0], y);
  verify(g);
  g.erase_input(0);
  EXPECT_EQ(y->index(), 0u);
  g.erase_output(0);
  EXPECT_FALSE(y->is_output());
  verify(g);
}

TEST(Graph, ErasingAUsedNodeIsABug) {
  Graph g;
  Value* y = map1(g, MapOp::exp, g.add_input("x", vec(2)));
  g.add_output(y, "y");
  EXPECT_THROW(g.erase(y->producer()), Error);
}

TEST(Graph, FailedAppendsLeaveNoTrace) {
  Graph g;
  Value* x = g.add_input("x", vec(2));
  try {
    g.append(Softmax{5}, {x}, 1, "layer");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.node(), "layer");
    EXPECT_EQ(e.op(), "softmax");
  }
  EXPECT_EQ(g.num_nodes(), 0u);
  EXPECT_TRUE(x->is_unused());
}

TEST(Graph, InferTypesKeepsRunTimeSymbols) {
  Graph g;
  Value* x = g.add_input("x", vec(2));
  Value* where = g.emit(NonZero{}, {x});
  const Type before = where->type();
  g.infer_types(where->producer());
  EXPECT_EQ(where->type(), before);
  Value* y = g.add_input("y", Type::tensor(DType::f32, {2, 2}));
  g.set_input(where->producer(), 0, y);
  g.infer_types(where->producer());
  EXPECT_EQ(where->type(), Type::tensor(DType::i64, {2, before.shape[1]}));
}

TEST(Graph, FreshSymbolsAvoidTakenOnesAndElementTypes) {
  Graph g;
  g.add_input("x", Type::tensor(DType::f32, {Dim::symbol("u6")}));
  EXPECT_EQ(g.symbols().fresh("u"), "u7");
  EXPECT_EQ(g.symbols().fresh("u"), "u9");
  g.symbols().reserve("u99999999999999999999999");  // more than 64 bits: never reached
  EXPECT_EQ(g.symbols().fresh("$"), "$10");
}

TEST(Graph, ClonesAreDeepAndEqual) {
  const auto graph = parse_graph(test::kEveryOp);
  const auto copy = graph->clone();
  EXPECT_TRUE(structurally_equal(*graph, *copy));
  EXPECT_EQ(print(*graph), print(*copy));
  for (const auto& node : copy->nodes())
    if (If* branch = node->as<If>()) branch->then_branch.graph().set_output(0, branch->then_branch.graph().inputs()[0]);
  EXPECT_FALSE(structurally_equal(*graph, *copy));
  verify(*graph);
}

TEST(Graph, OpsAreEqualByBits) {
  const auto graph = parse_graph(test::kEveryOp);
  for (const auto& node : graph->nodes()) {
    const Op copy = node->op();
    EXPECT_TRUE(op_equal(copy, node->op())) << op_name(copy);
  }
  Nms a, b;
  a.iou_threshold = 0.0;
  b.iou_threshold = -0.0;
  EXPECT_FALSE(op_equal(Op(a), Op(b)));
  b.iou_threshold = 0.0;
  b.score_threshold = 0.0;
  EXPECT_FALSE(op_equal(Op(a), Op(b)));
}

TEST(Symbols, DataDependentSizesAreBoundByTheirNode) {
  const auto graph = parse_graph(R"(graph (%x: f32[n], %i: i64[2]) {
    bind(%i) {symbols = ["$0", "$1"]}
    %z = non_zero(%x) : i64[1, found]
    %r = map(%x) {program = (x0) => x0, shape = [$0, n]}
    return %z as "z", %r as "r"
  })");
  std::vector<std::vector<std::string>> bound;
  for (const auto& node : graph->nodes()) bound.push_back(symbols_bound_by(*node));
  EXPECT_THAT(
      bound, testing::ElementsAre(testing::ElementsAre("$0", "$1"), testing::ElementsAre("found"), testing::IsEmpty()));
}

// Random rewrites; verify() compares the use lists with a recount each time.
TEST(Graph, UseListsStayExactUnderRandomMutation) {
  std::mt19937 random(7);
  Graph g;
  std::vector<Value*> inputs;
  for (int i = 0; i < 3; ++i) inputs.push_back(g.add_input("in", vec(4)));
  for (int i = 0; i < 3; ++i) g.add_output(inputs[static_cast<size_t>(i)], "out" + std::to_string(i));
  const auto before = [&](const Node* limit) {  // values defined before a node
    std::vector<Value*> values = inputs;
    for (const auto& node : g.nodes()) {
      if (node.get() == limit) break;
      values.push_back(node->output());
    }
    return values[random() % values.size()];
  };
  const auto any_node = [&] {
    auto it = g.nodes().begin();
    std::advance(it, random() % g.num_nodes());
    return it->get();
  };
  for (int step = 0; step < 600; ++step) {
    const auto action = g.num_nodes() == 0 ? 0 : random() % 6;
    if (action <= 1) map2(g, MapOp::add, before(nullptr), before(nullptr));
    if (action == 2) g.set_input(any_node(), random() % 2, inputs[random() % inputs.size()]);
    if (action == 3) g.set_output(random() % 3, before(nullptr));
    if (action == 4) {
      Node* node = any_node();
      g.replace_uses(node->output(), before(node));
      g.erase(node);
    }
    if (action == 5) {
      Node* node = any_node();
      Value* value = before(node);
      Value* twice = map2({g, node}, MapOp::mul, value, value);
      g.set_inputs(node, {twice, value});
    }
    ASSERT_NO_THROW(verify(g)) << "step " << step;
  }
}

TEST(Build, AddsNoNodeWhereNothingIsToDo) {
  Graph g;
  Value* x = g.add_input("x", Type::tensor(DType::f32, {2, Dim::symbol("n")}));
  EXPECT_EQ(cast(g, x, DType::f32), x);
  EXPECT_EQ(reshape(g, x, x->shape()), x);
  EXPECT_EQ(broadcast_to(g, x, x->shape()), x);
  EXPECT_EQ(transpose(g, x, {0, 1}), x);
  EXPECT_EQ(slice_axis(g, x, -1, 0, Dim::symbol("n")), x);
  EXPECT_EQ(concat(g, {x}, 0), x);
  EXPECT_EQ(g.num_nodes(), 0u);
  EXPECT_EQ(to_string(slice_axis(g, x, -1, 1, Dim::symbol("n") - 1)->type()), "f32[2, n - 1]");
  EXPECT_EQ(to_string(concat(g, {x, x}, -1)->type()), "f32[2, 2*n]");
  EXPECT_EQ(to_string(reduce(g, ReduceKind::sum, x, {-1}, false)->type()), "f32[2]");
  EXPECT_EQ(to_string(cast(g, x, DType::i64)->type()), "i64[2, n]");
  EXPECT_EQ(to_string(broadcast_to(g, scalar(g, 1, DType::f16), {3})->type()), "f16[3]");
  EXPECT_EQ(to_string(matmul(g, x, transpose(g, x, {1, 0}))->type()), "f32[2, 2]");
}

}  // namespace
}  // namespace lathe
