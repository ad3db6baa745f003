// The binary form of graphs, for plan files. Deterministic: equal graphs give equal bytes. Constants above kInlineBytes
// go out of line through a sink and come back through a source, so that the plan file can lay weights out page-aligned,
// store each once, and map them. Bytes of another version of the op set are refused.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "graph/graph.h"

namespace lathe {

inline constexpr size_t kInlineBytes = 256;

class ConstantSink {
 public:
  virtual ~ConstantSink() = default;
  // Stores the elements of a tensor, which may be deferred; returns the index under which the source will be asked for
  // them.
  virtual uint64_t store(const Tensor& tensor) = 0;
};

class ConstantSource {
 public:
  virtual ~ConstantSource() = default;
  // The tensor stored under `index`; must be of this type and these sizes. Throws Error(invalid_model) for what it
  // cannot give.
  virtual Tensor load(uint64_t index, DType dtype, const std::vector<int64_t>& dims) = 0;
};

std::vector<std::byte> serialize(const Graph& graph, ConstantSink& sink);

// Safe on any bytes: throws Error(invalid_model) unless they hold a graph that passes verify().
std::unique_ptr<Graph> deserialize(std::span<const std::byte> bytes, ConstantSource& source);

}  // namespace lathe
