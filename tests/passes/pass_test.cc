#include "tests/passes/pass_test.h"

#include <algorithm>
#include <cmath>

namespace lathe::passes {
namespace {

Tensor make_input(const Type& type, const Symbols& symbols, uint64_t seed) {
  std::vector<int64_t> dims;
  for (const Dim& d : type.shape) {
    const auto size = d.evaluate([&](std::string_view name) -> std::optional<int64_t> {
      const auto it = symbols.find(std::string(name));
      return it == symbols.end() ? std::nullopt : std::optional(it->second);
    });
    EXPECT_TRUE(size.has_value()) << "no size for " << d.to_string();
    dims.push_back(size.value_or(0));
  }
  Tensor t(type.dtype, dims);
  const int64_t row = dims.empty() ? 1 : std::max<int64_t>(dims.back(), 1);
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (int64_t i = 0; i < t.elements(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const double unit = static_cast<double>(state >> 40) / static_cast<double>(uint64_t{1} << 24);
    if (is_float(type.dtype))
      t.write_double(i, 2 * unit - 1);
    else if (type.dtype == DType::boolean)
      t.write_int(i, i % row < std::max<int64_t>(row - 1, 1) ? 1 : 0);
    else
      t.write_int(i, i % 3);
  }
  return t;
}

SymbolBindings bindings(const Symbols& symbols) {
  SymbolBindings b;
  for (const auto& [name, value] : symbols) b.bind(name, value);
  return b;
}

double difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.dtype(), b.dtype());
  EXPECT_EQ(a.dims(), b.dims());
  double worst = 0;
  for (int64_t i = 0; i < std::min(a.elements(), b.elements()); ++i) {
    const double x = a.read_double(i), y = b.read_double(i);
    if (std::isnan(x) && std::isnan(y)) continue;
    if (x == y) continue;
    worst = std::max(worst, std::isnan(x) || std::isnan(y) ? INFINITY : std::abs(x - y));
  }
  return worst;
}

Rewritten run(std::string_view text, const std::function<int(Graph&)>& pass, const Symbols& symbols, double tolerance) {
  const auto before = parse_graph(text);
  verify(*before);
  Rewritten r;
  r.graph = before->clone();
  r.rewrites = pass(*r.graph);
  dead_code(*r.graph);
  verify(*r.graph);
  r.text = print(*r.graph);
  EXPECT_LE(max_difference(*before, *r.graph, symbols), tolerance) << r.text;
  return r;
}

}  // namespace

std::vector<RefValue> make_inputs(const Graph& graph, const Symbols& symbols) {
  std::vector<RefValue> inputs;
  for (const Value* v : graph.inputs()) inputs.emplace_back(make_input(v->type(), symbols, inputs.size() + 1));
  return inputs;
}

double max_difference(const Graph& before, const Graph& after, const Symbols& symbols) {
  const std::vector<RefValue> inputs = make_inputs(before, symbols);
  SymbolBindings first = bindings(symbols), second = bindings(symbols);
  const std::vector<RefValue> expected = evaluate(before, inputs, first), actual = evaluate(after, inputs, second);
  EXPECT_EQ(expected.size(), actual.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(expected.size(), actual.size()); ++i)
    worst = std::max(worst, difference(std::get<Tensor>(expected[i]), std::get<Tensor>(actual[i])));
  return worst;
}

int Rewritten::count(std::string_view op) const {
  int n = 0;
  for (const auto& node : graph->nodes()) n += op_name(node->op()) == op ? 1 : 0;
  return n;
}

Rewritten rewrite(std::string_view text, int (*pass)(Graph&), const Symbols& symbols, double tolerance) {
  return run(text, pass, symbols, tolerance);
}

Rewritten optimise(std::string_view text, const Symbols& symbols, double tolerance) {
  const auto pipeline = [](Graph& graph) {
    int rewrites = 0;
    for (const PassReport& report : run_pipeline(graph)) rewrites += report.rewrites;
    return rewrites;
  };
  return run(text, pipeline, symbols, tolerance);
}

}  // namespace lathe::passes
