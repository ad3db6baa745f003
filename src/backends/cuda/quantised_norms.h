// Norms whose results are read as bytes write the bytes themselves: a row is in registers when its range is known.
#pragma once

#include "graph/graph.h"

namespace lathe::cuda {

// The number of quantisations that became part of a norm.
int fuse_quantised_norms(Graph& graph);

}  // namespace lathe::cuda
