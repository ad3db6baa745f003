#include "graph/bindings.h"

#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

TEST(SymbolBindings, FindsTheLatestAndForgetsOnRollback) {
  SymbolBindings symbols;
  EXPECT_EQ(symbols.find("n"), std::nullopt);
  symbols.bind("n", 3);
  const size_t mark = symbols.mark();
  EXPECT_EQ(symbols.find("n", mark), std::nullopt);
  symbols.bind("n", 5);
  EXPECT_EQ(symbols.find("n"), 5);
  EXPECT_EQ(symbols.find("n", mark), 5);
  symbols.rollback(mark);
  EXPECT_EQ(symbols.find("n"), 3);
}

TEST(SymbolBindings, OnlyValuesMayBeNegative) {
  SymbolBindings symbols;
  symbols.bind("$0", -7);
  EXPECT_EQ(symbols.find("$0"), -7);
  expect_error(ErrorCode::invalid_argument, "symbol 'n'", [&] { symbols.bind("n", -1); });
}

TEST(SymbolBindings, EvaluatesExpressionsAndNamesWhatIsMissing) {
  SymbolBindings symbols;
  symbols.bind("n", 7);
  EXPECT_EQ(symbols.evaluate(Dim::parse("floor_div(n + 1, 3)")), 2);
  EXPECT_EQ(symbols.evaluate(Shape{Dim(4), Dim::parse("2*n")}), (Sizes{4, 14}));
  EXPECT_EQ(symbols.try_evaluate(Dim::parse("n + m")), std::nullopt);
  expect_error(ErrorCode::not_found, "symbol 'm'", [&] { symbols.evaluate(Dim::parse("n + m")); });
}

}  // namespace
}  // namespace lathe
