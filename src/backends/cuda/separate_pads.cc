#include "backends/cuda/separate_pads.h"

#include <algorithm>

namespace lathe::cuda {
namespace {

bool is_depthwise(const Conv& op, const Node& node) { return op.groups > 1 && node.input(1)->shape()[1] == Dim(1); }

// Lathe's own kernels, which serve depthwise convolutions and integers, take any number of zeros.
bool needs_equal_ends(const Conv& op, const Node& node) {
  const DType type = node.input(0)->dtype();
  return (type == DType::f32 || type == DType::f16 || type == DType::bf16) && !is_depthwise(op, node);
}

// Moves what a convolution may keep from `op` to a Pad, which is left without axes when there is nothing to move.
Pad take_pads(Conv& op, const Node& node) {
  const size_t spatial = op.strides.size(), first = op.channels_last && !op.channels_first_input ? 1 : 2;
  const bool zeros = op.pad_value == 0;
  Pad pad;
  pad.begins.assign(spatial + 2, Dim(0));
  pad.ends = pad.begins;
  bool moved = false;
  for (size_t i = 0; i < spatial; ++i) {
    Dim &begin = op.pads[i], &end = op.pads[spatial + i];
    if (zeros && (begin == end || !needs_equal_ends(op, node))) continue;
    const Dim kept = zeros ? min(begin, end) : Dim(0);
    pad.begins[first + i] = begin - kept;
    pad.ends[first + i] = end - kept;
    moved |= !(pad.begins[first + i] == Dim(0) && pad.ends[first + i] == Dim(0));
    begin = end = kept;
  }
  op.pad_value = 0;
  return moved ? pad : Pad();
}

bool separate(Graph& graph, Node& node) {
  Conv& op = *node.as<Conv>();
  std::vector<Value*> inputs = {node.input(0)};
  Tensor value(node.input(0)->dtype(), {});
  if (op.pad_value != 0) value.write_double(0, op.pad_value);
  const bool zeros = op.pad_value == 0;
  Pad pad = take_pads(op, node);
  if (pad.begins.empty()) return false;
  if (!zeros) inputs.push_back(graph.insert_before(&node, Constant{std::move(value)}, {}, 1, node.name())->output());
  graph.set_input(&node, 0, graph.insert_before(&node, std::move(pad), std::move(inputs), 1, node.name())->output());
  return true;
}

}  // namespace

int separate_pads(Graph& graph) {
  int changed = 0;
  for (Node* node : snapshot(graph)) {
    for (Region* region : regions_of(node->mutable_op())) changed += separate_pads(region->graph());
    if (node->is<Conv>() && node->input(0)->type().ranked && node->input(1)->type().ranked)
      changed += separate(graph, *node);
  }
  return changed;
}

}  // namespace lathe::cuda
