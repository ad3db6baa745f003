// Weights of a few bits for devices that have no kernel for them.
#pragma once

#include <functional>

#include "graph/graph.h"

namespace lathe {

// Products with constant weights of a few bits become products with weights of the activations' type, but for those
// that `keep` is true for. Returns how many.
using KeepNBits = std::function<bool(const MatMulNBits& op, const Node& node)>;
int widen_nbits(Graph& graph, const KeepNBits& keep = {});

}  // namespace lathe
