#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

const Type kCondition = Type::tensor(DType::boolean, {});
const Type kIndex = Type::tensor(DType::i64, {});

Type row(std::string_view size) { return Type::tensor(DType::f32, {Dim::parse(size)}); }

Value* add(Graph& graph, Value* a, Value* b) {
  return graph.emit(Map{binary_program(MapOp::add, a->dtype()), {}}, {a, b});
}

TEST(ReferenceIf, TakesOneBranchWithItsCaptures) {
  auto same = std::make_unique<Graph>(), twice = std::make_unique<Graph>();
  same->add_output(same->add_input("x", row("n")), "y");
  Value* x = twice->add_input("x", row("n"));
  twice->add_output(add(*twice, x, x), "y");
  const If op{Region(std::move(same)), Region(std::move(twice))};
  expect_values(run1(op, {Tensor::scalar(true), counting({2})}), {2}, {1, 2});
  expect_values(run1(op, {Tensor::scalar(false), counting({2})}), {2}, {2, 4});
}

// Carries x, which grows by a copy of the captured tensor each time, and gives the iteration number; ends before
// `limit`.
Loop growing_loop(int64_t limit) {
  auto body = std::make_unique<Graph>();
  Value* i = body->add_input("i", kIndex);
  body->add_input("condition", kCondition);
  Value* x = body->add_input("x", row("n"));
  Value* capture = body->add_input("capture", row("m"));
  MapProgram again;
  again.finish(again.binary(MapOp::lt, again.input(0, DType::i64), again.constant_int(limit - 1, DType::i64)));
  body->add_output(body->emit(Map{again, {}}, {i}), "again");
  body->add_output(body->emit(Concat{0}, {x, capture}), "x");
  body->add_output(i, "i");
  return Loop{1, Region(std::move(body))};
}

std::vector<RefValue> run_loop(const Loop& op, std::optional<int64_t> trips, std::optional<bool> condition) {
  const RefValue count = Tensor::scalar(trips.value_or(0)), start = Tensor::scalar(condition.value_or(true));
  const RefValue x = floats({1}, {5}), capture = floats({2}, {6, 7});
  const RefValue* operands[] = {trips ? &count : nullptr, condition ? &start : nullptr, &x, &capture};
  SymbolBindings symbols;
  return evaluate_op(op, operands, 2, symbols);
}

TEST(ReferenceLoop, CarriesValuesOfChangingSizeAndStacks) {
  const auto results = run_loop(growing_loop(100), 2, std::nullopt);
  expect_values(std::get<Tensor>(results[0]), {5}, {5, 6, 7, 6, 7});
  expect_values(std::get<Tensor>(results[1]), {2}, {0, 1});
}

TEST(ReferenceLoop, EndsByItsCondition) {
  expect_values(std::get<Tensor>(run_loop(growing_loop(3), std::nullopt, true)[1]), {3}, {0, 1, 2});
  expect_values(std::get<Tensor>(run_loop(growing_loop(3), 2, true)[1]), {2}, {0, 1});
}

TEST(ReferenceLoop, NoIterationGivesTheStartAndNoSlices) {
  for (const auto& results : {run_loop(growing_loop(3), 0, true), run_loop(growing_loop(3), 5, false)}) {
    expect_values(std::get<Tensor>(results[0]), {1}, {5});
    EXPECT_EQ(std::get<Tensor>(results[1]).dims(), (Sizes{0}));
  }
}

TEST(ReferenceScan, RunsAlongAxesInBothDirections) {
  auto body = std::make_unique<Graph>();
  Value* sum = body->add_input("sum", row("n"));
  Value* a = body->add_input("a", row("n"));
  Value* b = body->add_input("b", row("n"));
  Value* next = add(*body, sum, a);
  body->add_output(next, "sum");
  body->add_output(next, "sums");
  body->add_output(b, "bs");
  Scan op{1, 2, {0, 1}, {0, -1}, {0, 1}, {1, 0}, Region(std::move(body))};
  const auto results = run(op, {floats({2}, {0, 0}), counting({3, 2}), counting({2, 3})}, 3);
  expect_values(std::get<Tensor>(results[0]), {2}, {9, 12});
  expect_values(std::get<Tensor>(results[1]), {3, 2}, {9, 12, 4, 6, 1, 2});  // the last sum comes first
  expect_values(std::get<Tensor>(results[2]), {2, 3}, {3, 2, 1, 6, 5, 4});   // columns from the last on
  expect_error(ErrorCode::invalid_argument, "3 and 2 steps", [&] {
    run(op, {counting({2}), counting({3, 2}), counting({2, 2})}, 3);
  });
}

}  // namespace
}  // namespace lathe
