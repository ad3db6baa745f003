// The rewrites that the CPU alone wants after the common passes; backends/channels_last.h has the other one.
#pragma once

#include "graph/graph.h"

namespace lathe::cpu {

// Turns every f16 and bf16 computation into f32: graph inputs and outputs keep their types behind casts, and weights
// stay as they are stored where a kernel widens them while it reads. Returns the number of values changed.
int widen_halves(Graph& graph);

// Ends the epilogues of products of floats in f32, whatever they ended in. Returns the number of products changed.
int leave_floats(Graph& graph);

}  // namespace lathe::cpu
