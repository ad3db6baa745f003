// Whether a graph computes each token by itself, so that tokens of any sequences may stand in one row behind each
// other. That is proven node by node: every value either has one axis of tokens, or is the same for all of them.
#pragma once

#include "graph/graph.h"

namespace lathe::llm {

// `tokens` is the size of the axis; paged_attention, which knows whose tokens are whose, may mix them. A gather by
// `rows`, an input, may choose among them. False where it could not be proven.
bool keeps_tokens_apart(const Graph& graph, const Dim& tokens, const Value& rows);

}  // namespace lathe::llm
