// Checks every invariant that graph.h and the op headers state. Run after import, after each pass and after loading a
// plan.
#pragma once

#include "graph/graph.h"

namespace lathe {

// Throws Error(invalid_model) naming the first node that breaks an invariant: operands defined earlier, symbols bound
// before they are mentioned, use lists exact, operand types that the op accepts, output types equal to or refining the
// inferred ones, programs well-typed, region signatures that match their op, state that its one user alone touches.
// Checks regions too.
void verify(const Graph& graph);

}  // namespace lathe
