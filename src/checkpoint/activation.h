// The functions between the matrices of an MLP: their names in config.json, and their nodes in a graph.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "graph/graph.h"

namespace lathe::checkpoint {

enum class Activation : uint8_t {
  identity,
  relu,
  relu6,
  relu_squared,
  leaky_relu,  // slope 0.01 below 0
  silu,
  gelu_erf,
  gelu_tanh,
  gelu_sigmoid,  // x * sigmoid(1.702 x)
  gelu_clipped,  // gelu_erf, held between -10 and 10
  mish,
  sigmoid,
  tanh,
  xielu,  // with learned parameters (arXiv 2411.13010): Layers makes it
};

// By the names of Transformers; none for a name that is not known.
std::optional<Activation> activation_named(std::string_view name);

Value* activate(Graph& graph, Activation activation, Value* x);

}  // namespace lathe::checkpoint
