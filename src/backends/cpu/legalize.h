// The rewrites that the CPU wants after the common passes.
#pragma once

#include "graph/graph.h"

namespace lathe::cpu {

// Turns every f16 and bf16 computation into f32: graph inputs and outputs keep their types behind casts. Returns the
// number of values changed.
int widen_halves(Graph& graph);

// Gives two-dimensional convolutions, poolings and what lies between them channels-last tensors, with transposes only
// where such an area begins and ends. Returns the number of ops changed.
int use_channels_last(Graph& graph);

}  // namespace lathe::cpu
