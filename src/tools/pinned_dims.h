// Dimensions of inputs that a model declares free but that a node inside works with one size only: a Squeeze needs 1, a
// Reshape to constant sizes needs a certain number of elements, a product with a weight needs its rows. Such a model
// fails at run time, far from its cause; here the cause is named.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace lathe::tools {

struct PinnedDim {
  Dim dim;                       // what is pinned: "sequence", or an expression: "batch*sequence"
  std::vector<int64_t> allowed;  // 128; or 1 and 512 where broadcasting leaves a choice
  std::string node, op;
  std::string why;  // "reshapes f32[batch, sequence, 768] to [1, 128, 12, 64]"

  std::string needed() const;  // "1 or 512"
};

// In the order of the graph; of several nodes that pin one dimension to the same size, the first. The graph should be
// as imported: passes may have merged the nodes that the user knows.
std::vector<PinnedDim> find_pinned_dims(const Graph& graph);

}  // namespace lathe::tools
