// The layout pass, for backends whose convolutions run channels-last.
#pragma once

#include <string_view>

#include "graph/graph.h"

namespace lathe {

struct ChannelsLastOptions {
  bool halves = false;                // f16 and bf16 besides f32
  bool bytes = true;                  // products of 8-bit integers
  bool channels_first_images = true;  // a convolution may read its input as [N, C, spatial..] and write channels-last
};

// Gives convolutions, poolings and what lies between them channels-last tensors, with transposes only where such an
// area begins and ends. Returns the number of ops changed.
int use_channels_last(Graph& graph, const ChannelsLastOptions& options = {});
// A channels-last value has the name of the value that it stands for, and this behind it.
inline constexpr std::string_view kChannelsLastSuffix = ":channels_last";

}  // namespace lathe
