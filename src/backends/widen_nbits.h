// Weights of a few bits for devices that have no kernel for them.
#pragma once

#include "graph/graph.h"

namespace lathe {

// Products with constant weights of a few bits become products with weights of the activations' type. Returns how many.
int widen_nbits(Graph& graph);

}  // namespace lathe
