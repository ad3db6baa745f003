// Runs passes on graphs in text form, and checks by the reference evaluator that the results stay the same.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "graph/reference/evaluator.h"
#include "graph/text.h"
#include "graph/verifier.h"
#include "passes/passes.h"
#include "passes/pipeline.h"

namespace lathe::passes {

using Symbols = std::map<std::string, int64_t>;

// One tensor per graph input: floats from a fixed pseudo-random sequence in (-1, 1), integers counting modulo 3, bools
// true at the head of each row. Symbolic sizes come from `symbols`.
std::vector<RefValue> make_inputs(const Graph& graph, const Symbols& symbols);

// Largest difference between the outputs of two graphs that take the same inputs; fails the test on other shapes or
// types, or where only one of them is NaN.
double max_difference(const Graph& before, const Graph& after, const Symbols& symbols);

struct Rewritten {
  std::unique_ptr<Graph> graph;
  int rewrites = 0;
  std::string text;  // of the graph after dead_code

  int count(std::string_view op) const;  // nodes of this op
};

// Parses, runs the pass and then dead_code, verifies, and compares the outputs for the symbols.
Rewritten rewrite(std::string_view text, int (*pass)(Graph&), const Symbols& symbols = {}, double tolerance = 1e-5);
// The same with the whole pipeline.
Rewritten optimise(std::string_view text, const Symbols& symbols = {}, double tolerance = 1e-5);

}  // namespace lathe::passes
