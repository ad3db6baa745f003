// The layout pass, for backends whose convolutions run channels-last.
#pragma once

#include "graph/graph.h"

namespace lathe {

struct ChannelsLastOptions {
  bool halves = false;                // f16 and bf16 besides f32
  bool channels_first_images = true;  // a convolution may read its input as [N, C, spatial..] and write channels-last
};

// Gives convolutions, poolings and what lies between them channels-last tensors, with transposes only where such an
// area begins and ends. Returns the number of ops changed.
int use_channels_last(Graph& graph, const ChannelsLastOptions& options);

}  // namespace lathe
