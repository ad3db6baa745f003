#include "backends/cuda/lower/lower.h"

#include <algorithm>

namespace lathe::cuda {
namespace {

// Ops that run on the host so far. When one gets a kernel, it moves from here to lower.h.
template <class T, class... List>
inline constexpr bool kOneOf = (std::is_same_v<T, List> || ...);

template <class T>
concept WithoutKernel =
    !kOneOf<T, ArgReduce, Attention, Concat, Conv, ConvTranspose, Cumulative, Dims, Embedding, Gather, GatherElements,
            GatherNd, GroupNorm, Map, MatMul, Nms, NonZero, Norm, Pad, Pool, Reduce, Reshape, Resize, ReverseSequence,
            Rnn, Rotary, ScatterElements, ScatterNd, Slice, Softmax, TopK, Transpose>;

template <WithoutKernel T>
Candidates lower(const T&, const Node&, const Target&) {
  return {};
}

bool all_ranked(std::span<Value* const> values) {
  return std::all_of(values.begin(), values.end(),
                     [](const Value* v) { return v == nullptr || !v->type().is_tensor() || v->type().ranked; });
}

}  // namespace

// Kernels are specialised by the ranks of their operands, so these must be known when lowering.
Candidates candidates_for(const Node& node, const Target& target) {
  if (!all_ranked(node.inputs()) || !all_ranked(node.outputs()))
    return {decline("any", "the rank of a tensor is not known before running")};
  return std::visit([&](const auto& op) { return lower(op, node, target); }, node.op());
}

}  // namespace lathe::cuda
