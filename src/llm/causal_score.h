// What the score program of an attention comes to, proven by cases: each comparison of the positions of key and query
// is either so or not.
#pragma once

#include <optional>

#include "graph/graph.h"

namespace lathe::llm {

// Whether the score is the sum of all operands of the program for keys up to query + offset, and, where `hides`, so low
// for later ones that they weigh nothing.
bool is_causal_sum(const MapProgram& program, const Dim& offset, bool hides);

// The slopes, f32 [heads], of a bias slope * key that broadcasts to [batch, heads, queries, keys] (ALiBi); nullopt for
// any other operand.
std::optional<Tensor> alibi_slopes(const Value& bias, int64_t heads);

}  // namespace lathe::llm
