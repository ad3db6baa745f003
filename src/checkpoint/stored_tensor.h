// A tensor as a weights file describes it: where its bytes lie and how they are to be read. What both file formats
// parse to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace lathe::checkpoint {

struct StoredTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> dims;
  std::span<const std::byte> bytes;  // row-major elements; with `strides`, what these reach into
  std::vector<int64_t> strides;      // in elements, where the order is not row-major; empty otherwise
};

}  // namespace lathe::checkpoint
