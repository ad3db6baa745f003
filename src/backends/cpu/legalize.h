// The rewrites that the CPU wants after the common passes.
#pragma once

#include <string_view>

#include "graph/graph.h"

namespace lathe::cpu {

// Turns every f16 and bf16 computation into f32: graph inputs and outputs keep their types behind casts. Returns the
// number of values changed.
int widen_halves(Graph& graph);

// Gives two-dimensional convolutions, poolings and what lies between them channels-last tensors, with transposes only
// where such an area begins and ends. Returns the number of ops changed.
int use_channels_last(Graph& graph);
// A channels-last value has the name of the value that it stands for, and this behind it.
inline constexpr std::string_view kChannelsLastSuffix = ":channels_last";

}  // namespace lathe::cpu
