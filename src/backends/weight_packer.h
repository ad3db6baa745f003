// Brings weights into the layouts of a backend and back. Needs none of the backend's hardware: a plan made for a GPU is
// unpacked on any machine.
#pragma once

#include <cstddef>
#include <span>

#include "backends/weight_layout.h"
#include "graph/tensor.h"

namespace lathe {

// Plain weights never come here.
class WeightPacker {
 public:
  virtual ~WeightPacker() = default;
  virtual size_t packed_bytes(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims) const = 0;
  virtual void pack(const WeightLayout& layout, const Tensor& source, std::span<std::byte> packed) const = 0;
  // The exact inverse.
  virtual Tensor unpack(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims,
                        std::span<const std::byte> packed) const = 0;
};

}  // namespace lathe
