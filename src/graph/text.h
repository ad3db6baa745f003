// Text form of graphs. print(parse(print(g))) == print(g), and parse gives a graph that is equal in every respect but
// addresses.
//
//   graph name(%x: f32[batch, 4], %n: i64[]) {
//     %w = constant {value = f32[4, 2] [1, 2, 3, 4, 5, 6, 7, 8]}
//     %h = matmul(%x, %w) {trans_a = false, epilogue = (x0) => relu(x0)} : f32[batch, 2]
//     %v, %i = top_k(%h) {k = 2, ..} : f32[batch, 2], i64[batch, 2]
//     %y = if(%c, %h) {then_branch = graph(%a: f32[batch, 2]) { .. }, ..} : f32[batch, 2]
//     return %y as "logits"
//   }
//
// Fields that have their default value are not printed. Absent operands are "_". Node names follow as `@ "name"` where
// set. Constants above PrintOptions::max_elements print as `f32[768, 768] #hash`, which parse() refuses. A tensor may
// also be written `f32[4, 4] splat(0.5)` or `f32[8] random(seed)` (normal(0, 1) / sqrt(last size); for tests).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "graph/graph.h"

namespace lathe {

struct PrintOptions {
  int64_t max_elements = INT64_MAX;
};

std::string print(const Graph& graph, const PrintOptions& options = {});
std::string print(const Node& node, const PrintOptions& options = {});
// Throws Error(invalid_argument) with line and column.
std::unique_ptr<Graph> parse_graph(std::string_view text);

}  // namespace lathe
