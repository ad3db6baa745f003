// Padding that no kernel for convolutions does while it reads becomes a step of its own: cuDNN adds as much at both
// ends, and kernels add zeros only, where quantised activations want their zero point.
#pragma once

#include "graph/graph.h"

namespace lathe::cuda {

// The number of convolutions that were changed.
int separate_pads(Graph& graph);

}  // namespace lathe::cuda
