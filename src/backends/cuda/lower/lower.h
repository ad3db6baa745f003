// The lowering table of CUDA: one overload of lower() per op that has kernels, each in lower/<family>.cc, returning its
// candidates best first. An op without an overload does not compile in lower.cc, unless that says why the op runs on
// the host. Ops are written lathe::Norm and so on, to tell them from the kernels' own names.
#pragma once

#include <vector>

#include "backends/backend.h"
#include "backends/cuda/compiler/kernel_library.h"
#include "backends/cuda/cuda_context.h"
#include "backends/cuda/libraries.h"

namespace lathe::cuda {

struct Target {
  KernelLibrary& kernels;
  const DeviceInfo& device;
  const Libraries& libraries;
  bool tf32 = false;     // products of f32 may round their operands to TF32
  bool uniform = false;  // BackendOptions::uniform_rows
};

using Candidates = std::vector<Candidate>;

Candidates lower(const lathe::ArgReduce& op, const Node& node, const Target& target);
Candidates lower(const lathe::Attention& op, const Node& node, const Target& target);
Candidates lower(const lathe::Concat& op, const Node& node, const Target& target);
Candidates lower(const lathe::Conv& op, const Node& node, const Target& target);
Candidates lower(const lathe::ConvTranspose& op, const Node& node, const Target& target);
Candidates lower(const lathe::Cumulative& op, const Node& node, const Target& target);
Candidates lower(const lathe::Dims& op, const Node& node, const Target& target);
Candidates lower(const lathe::DynamicQuantize& op, const Node& node, const Target& target);
Candidates lower(const lathe::Embedding& op, const Node& node, const Target& target);
Candidates lower(const lathe::Gather& op, const Node& node, const Target& target);
Candidates lower(const lathe::GatherElements& op, const Node& node, const Target& target);
Candidates lower(const lathe::GatherNd& op, const Node& node, const Target& target);
Candidates lower(const lathe::GroupNorm& op, const Node& node, const Target& target);
Candidates lower(const lathe::GroupedMatMul& op, const Node& node, const Target& target);
Candidates lower(const lathe::Map& op, const Node& node, const Target& target);
Candidates lower(const lathe::MatMul& op, const Node& node, const Target& target);
Candidates lower(const lathe::MatMulNBits& op, const Node& node, const Target& target);
Candidates lower(const lathe::Nms& op, const Node& node, const Target& target);
Candidates lower(const lathe::PackTokens& op, const Node& node, const Target& target);
Candidates lower(const lathe::NonZero& op, const Node& node, const Target& target);
Candidates lower(const lathe::Norm& op, const Node& node, const Target& target);
Candidates lower(const lathe::Pad& op, const Node& node, const Target& target);
Candidates lower(const lathe::PagedAttention& op, const Node& node, const Target& target);
Candidates lower(const lathe::Pool& op, const Node& node, const Target& target);
Candidates lower(const lathe::Reduce& op, const Node& node, const Target& target);
Candidates lower(const lathe::Reshape& op, const Node& node, const Target& target);
Candidates lower(const lathe::Resize& op, const Node& node, const Target& target);
Candidates lower(const lathe::ReverseSequence& op, const Node& node, const Target& target);
Candidates lower(const lathe::Rnn& op, const Node& node, const Target& target);
Candidates lower(const lathe::Rotary& op, const Node& node, const Target& target);
Candidates lower(const lathe::ScatterElements& op, const Node& node, const Target& target);
Candidates lower(const lathe::ScatterNd& op, const Node& node, const Target& target);
Candidates lower(const lathe::Slice& op, const Node& node, const Target& target);
Candidates lower(const lathe::Softmax& op, const Node& node, const Target& target);
Candidates lower(const lathe::TopK& op, const Node& node, const Target& target);
Candidates lower(const lathe::Transpose& op, const Node& node, const Target& target);

// Why there is no kernel for a product with weights of a few bits; empty where there is one.
std::string why_not_nbits(const lathe::MatMulNBits& op, const Node& node);

// Why an op runs on the host; empty for those that have kernels.
std::string_view why_on_host(const Op& op);

// All candidates for a node, whatever its op.
Candidates candidates_for(const Node& node, const Target& target);

// ---- shared by the families ----

inline Candidate accept(std::string kernel, std::function<Lowered()> make) {
  return {std::move(kernel), {}, std::move(make)};
}
inline Candidate decline(std::string kernel, std::string why) { return {std::move(kernel), std::move(why), {}}; }
// A step of type S made of the node as it is, with all operands plain.
template <class S, class OpT>
Candidate accept_step(std::string kernel, const OpT& op, const Node& node, const Target& target) {
  return accept(std::move(kernel), [&op, &node, &target] {
    return Lowered{std::make_unique<S>(op, node, target), {}};
  });
}

inline CUstream stream_of(DeviceContext& device) { return static_cast<CudaContext&>(device).stream(); }

inline std::vector<DType> input_types(const Node& node) {
  std::vector<DType> types;
  for (const Value* input : node.inputs()) types.push_back(input->dtype());
  return types;
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace lathe::cuda
