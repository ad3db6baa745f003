// Numbers in the epilogues of products of bytes, such as the scales of what they read and leave, differ from layer to
// layer. As operands they leave programs that are equal, so that one kernel, compiled and timed once, serves all
// layers.
#pragma once

#include "graph/graph.h"

namespace lathe::cuda {

// The number of products that changed.
int lift_constants(Graph& graph);

}  // namespace lathe::cuda
