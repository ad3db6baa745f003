// Weights in 16 bits under activations of f32, as checkpoints store them, become f32: kernels of products read operands
// of one type. Constants are widened once, whatever a run computes by a step. Tables of look-ups stay narrow, also
// where the model widens them first.
#pragma once

#include "graph/graph.h"

namespace lathe::cuda {

// The number of operands that were changed.
int widen_operands(Graph& graph);

}  // namespace lathe::cuda
