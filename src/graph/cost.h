// What a node costs for given sizes: arithmetic operations and the least memory traffic, so that a measured time can be
// held against what the machine can do. A multiply-add counts as two operations; every instruction of an expression
// program counts as one, though an exp costs more; comparisons and copies count nothing. Traffic counts each operand
// and result once, and of a table that indices pick from only the rows picked.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "graph/op.h"
#include "graph/type.h"

namespace lathe {

// The element type and sizes of an operand or result; an absent optional operand is not present.
struct SizedType {
  DType dtype = DType::f32;
  std::span<const int64_t> dims;
  bool present = true;
};

struct Cost {
  double flops = 0;
  double bytes = 0;
  Cost& operator+=(const Cost& other) {
    flops += other.flops;
    bytes += other.bytes;
    return *this;
  }
};

// Control flow is free here: how often a region runs is not known before it does.
Cost cost_of(const Op& op, std::span<const SizedType> inputs, std::span<const SizedType> outputs);

}  // namespace lathe
