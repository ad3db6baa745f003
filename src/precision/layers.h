// Which nodes of a graph are layers, and which types each may have on a device.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "backends/backend.h"
#include "graph/graph.h"
#include "precision/options.h"

namespace lathe::precision {

// How a layer computes: its products in `compute`, its result kept in `result`.
struct LayerType {
  DType compute = DType::f32;
  DType result = DType::f32;
  friend bool operator==(const LayerType&, const LayerType&) = default;
};

// A type that operands are quantised to.
bool is_byte_type(DType type);

struct Layer {
  size_t node = 0;                // its place in the graph's list of nodes
  std::vector<LayerType> ladder;  // narrowest first; the last is f32, unless a rule forbids it
};

// By place in the list of nodes; nodes that are no layers have the default.
using Assignment = std::vector<LayerType>;

// Those that layers may have, and those that rules name.
std::vector<DType> asked_types(const PrecisionOptions& options);

// Nodes of the graph itself: regions of control flow stay as they are. Throws Error(invalid_argument) when a rule
// matches no layer, or asks for a type that none of those that it matches can have.
std::vector<Layer> find_layers(const Graph& graph, const PrecisionSupport& support, const PrecisionOptions& options);

// A product with constant weights that a quantised product can replace: MatMul with a constant matrix, Conv.
bool has_constant_weights(const Node& node);

// Weights that the model itself stores in 16 bits: nodes compute with them in f32 beside f32 operands.
bool is_half_constant(const Value* value);

// Whether the activations of such a layer are quantised by one calibrated range, in this type, and not row by row: so
// are results of products where those leave narrow values anyway. To read them again for the ranges of their rows would
// take as long as bytes gain.
bool has_one_range(const Node& node, DType type, const PrecisionSupport& support, bool static_activations);

// The operands of which a node computes: what must have its type. Others are parameters, indices, extras.
std::vector<size_t> computed_operands(const Node& node);
// Operands that a node only moves around; empty for nodes that compute.
std::vector<size_t> moved_operands(const Node& node);

}  // namespace lathe::precision
