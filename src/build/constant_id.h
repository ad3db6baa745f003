// Which storage a constant stands for. Constants that share bytes (a table that two branches read, tied embeddings) are
// one weight: stored once in a plan, and once in memory per layout.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "graph/tensor.h"

namespace lathe {

struct ConstantId {
  const void* data = nullptr;  // of the elements, unless they are elsewhere
  int64_t deferred = -1;       // the name that the owner of elements which are elsewhere has given them
  DType dtype = DType::f32;
  std::vector<int64_t> dims;
  friend auto operator<=>(const ConstantId&, const ConstantId&) = default;
};

inline ConstantId constant_id(const Tensor& tensor) {
  ConstantId id{nullptr, tensor.deferred_id(), tensor.dtype(), tensor.dims()};
  if (tensor.dtype() == DType::string)
    id.data = tensor.strings().data();
  else if (!tensor.is_deferred())
    id.data = tensor.bytes().data();
  return id;
}

}  // namespace lathe
