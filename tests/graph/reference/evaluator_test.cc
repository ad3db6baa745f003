// Whole graphs: symbols, checks, lifetimes, the observer.
#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

Type matrix(std::string_view rows, std::string_view columns) {
  return Type::tensor(DType::f32, {Dim::parse(rows), Dim::parse(columns)});
}

TEST(ReferenceEvaluator, BindsSymbolsWhereverTheyStandAlone) {
  Graph graph;
  graph.add_input("a", matrix("2*n", "m"));  // n is only known from the second input
  graph.add_input("b", matrix("n", "3"));
  graph.add_output(graph.emit(Dims{{Dim::symbol("n"), Dim::parse("m + 1")}, false}, {}), "sizes");
  const std::vector<RefValue> inputs{counting({4, 5}), counting({2, 3})};
  expect_values(std::get<Tensor>(evaluate(graph, inputs)[0]), {2}, {2, 6});
  const std::vector<RefValue> odd{counting({5, 5}), counting({2, 3})};
  expect_error(ErrorCode::invalid_argument, "input 'a': dimension 0 is 5, expected 4 (2*n)",
               [&] { evaluate(graph, odd); });
  const std::vector<RefValue> wide{counting({4, 5}), counting({2, 4})};
  expect_error(ErrorCode::invalid_argument, "input 'b': dimension 1 is 4, expected 3;", [&] { evaluate(graph, wide); });
}

TEST(ReferenceEvaluator, ChecksInputsAgainstSymbolsThatAreBound) {
  Graph graph;
  graph.add_output(graph.add_input("a", matrix("n", "n")), "a");
  const std::vector<RefValue> inputs{counting({2, 2})}, oblong{counting({2, 3})};
  expect_error(ErrorCode::invalid_argument, "dimension 1 is 3, expected 2 (n)", [&] { evaluate(graph, oblong); });
  SymbolBindings symbols;
  symbols.bind("n", 7);
  expect_error(ErrorCode::invalid_argument, "dimension 0 is 2, expected 7 (n)",
               [&] { evaluate(graph, inputs, symbols); });
}

TEST(ReferenceEvaluator, RefusesWrongTypesRanksAndCounts) {
  Graph graph;
  graph.add_output(graph.add_input("a", matrix("n", "m")), "a");
  const std::vector<RefValue> none, integers{ints({1, 1}, {1})}, vector{counting({2})}, sequence{std::vector<Tensor>{}};
  expect_error(ErrorCode::invalid_argument, "0 inputs are given, expected 1", [&] { evaluate(graph, none); });
  expect_error(ErrorCode::invalid_argument, "input 'a' is i64", [&] { evaluate(graph, integers); });
  expect_error(ErrorCode::invalid_argument, "input 'a' has shape [2]", [&] { evaluate(graph, vector); });
  expect_error(ErrorCode::invalid_argument, "not a tensor", [&] { evaluate(graph, sequence); });
}

TEST(ReferenceEvaluator, DataDependentSizesAndBoundValuesFlowOn) {
  Graph graph;
  Value* x = graph.add_input("x", Type::tensor(DType::f32, {Dim::symbol("n")}));
  Value* found = graph.emit(NonZero{}, {x});
  graph.add_output(graph.emit(Dims{{found->shape()[1]}, true}, {}), "count");
  Value* start = graph.add_input("start", Type::tensor(DType::i64, {Dim(1)}));
  graph.append(Bind{{"$0"}}, {start}, 0);
  const Dim from = Dim::symbol("$0");
  graph.add_output(graph.emit(Slice{{0}, {from}, {Dim::symbol("n") - from}, {1}}, {x}), "tail");
  const std::vector<RefValue> inputs{floats({4}, {0, 8, 0, 9}), ints({1}, {3})};
  const auto outputs = evaluate(graph, inputs);
  expect_values(std::get<Tensor>(outputs[0]), {}, {2});
  expect_values(std::get<Tensor>(outputs[1]), {1}, {9});
}

TEST(ReferenceEvaluator, ErrorsNameTheNode) {
  Graph graph;
  Value* x = graph.add_input("x", matrix("n", "m"));
  graph.add_output(graph.append(Reshape{{Dim(3)}}, {x}, 1, "flatten")->output(), "y");
  const std::vector<RefValue> inputs{counting({2, 2})};
  expect_error(ErrorCode::invalid_argument, "node 'flatten' (reshape)", [&] { evaluate(graph, inputs); });
}

TEST(ReferenceEvaluator, ObserverSeesEveryNodeInOrder) {
  Graph graph;
  Value* x = graph.add_input("x", matrix("n", "m"));
  Value* negative = graph.emit(Map{unary_program(MapOp::neg, DType::f32), {}}, {x});
  graph.emit(Transpose{{1, 0}}, {negative});  // unused
  graph.add_output(negative, "first");
  graph.add_output(negative, "second");
  std::vector<std::string> seen;
  const std::vector<RefValue> inputs{counting({1, 2})};
  const auto outputs = evaluate(graph, inputs, [&](const Node& node, std::span<const RefValue> results) {
    seen.push_back(std::string(op_name(node.op())) + to_string(std::get<Tensor>(results[0]).dims()));
  });
  EXPECT_EQ(seen, (std::vector<std::string>{"map[1, 2]", "transpose[2, 1]"}));
  ASSERT_EQ(outputs.size(), 2u);
  expect_values(std::get<Tensor>(outputs[1]), {1, 2}, {-1, -2});
}

}  // namespace
}  // namespace lathe
