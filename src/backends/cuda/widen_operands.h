// Weights and tables in 16 bits under activations of f32, as checkpoints store them, become f32: kernels read operands
// of one type. Constants are widened once, whatever a run computes by a step.
#pragma once

#include "graph/graph.h"

namespace lathe::cuda {

// The number of operands that were changed.
int widen_operands(Graph& graph);

}  // namespace lathe::cuda
