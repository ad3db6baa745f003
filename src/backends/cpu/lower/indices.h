// What the lowerings of gathers and scatters share: reading index tensors, and how their elements become positions.
#pragma once

#include <memory>
#include <string>

#include "backends/cpu/kernels/positions.h"
#include "backends/cpu/lower/lower.h"
#include "base/error.h"

namespace lathe::cpu {

inline size_t axis_of(int64_t axis, int64_t rank) { return static_cast<size_t>(axis < 0 ? axis + rank : axis); }

// Why operands 0 (data) and 1 (indices) of a node cannot be used ("" if they can).
inline std::string not_indexable(const Node& node) {
  const DType indices = node.input(1)->dtype();
  if (indices != DType::i64 && indices != DType::i32)
    return fmt::format("indices are {}, not i32 or i64", to_string(indices));
  return not_whole_bytes(node.input(0)->dtype());
}

inline IndexTensor index_tensor(const TensorRef& indices) { return {indices.data, indices.dtype == DType::i64}; }

// Throws for the element `wrong` of an index tensor, unless it is -1.
inline void refuse_index(const IndexTensor& indices, int64_t wrong, std::span<const int64_t> dims) {
  if (wrong >= 0)
    fail(ErrorCode::invalid_argument, "index {} (element {} of the indices) is outside of data of shape {}",
         indices.at(wrong), wrong, to_string(dims));
}

struct PositionState : StepState {
  Positions positions;
  explicit PositionState(Positions p) : positions(std::move(p)) {}
};

// How operand 1 points into operand 0.
struct PositionRule {
  bool by_rows;
  size_t number;  // axis of the elements, or batch axes of the rows

  static PositionRule elements(size_t axis) { return {false, axis}; }
  static PositionRule slices(size_t batch_dims) { return {true, batch_dims}; }

  std::unique_ptr<PositionState> prepare(const StepIo& io) const {
    const auto make = by_rows ? Positions::of_slices : Positions::of_elements;
    return std::make_unique<PositionState>(make(io.inputs[0].dims, number, io.inputs[1].dims));
  }
};

}  // namespace lathe::cpu
