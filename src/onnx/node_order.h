// The order in which the nodes of a graph can be imported.
#pragma once

#include <vector>

#include "onnx/proto.h"

namespace lathe::onnx {

// Indices of `nodes`, producers before users (names used inside subgraphs count as used by the node that holds them).
// The given order is kept where it already is one, and otherwise repaired. Throws Error(invalid_model) on a cycle.
std::vector<size_t> import_order(const std::vector<NodeProto>& nodes);

}  // namespace lathe::onnx
