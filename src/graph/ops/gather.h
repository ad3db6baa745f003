// Data movement driven by index tensors. Indices may be negative (from the end) and must be in range.
#pragma once

#include "graph/ops/field_types.h"

namespace lathe {

// (x, indices) -> y: x's axis is replaced by the axes of indices.
struct Gather {
  static constexpr std::string_view kName = "gather";
  int64_t axis = 0;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("axis", s.axis);
  }
};

// (x, indices) -> y shaped like indices: y[i,j,k] = x[i, indices[i,j,k], k] for axis 1.
struct GatherElements {
  static constexpr std::string_view kName = "gather_elements";
  int64_t axis = 0;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("axis", s.axis);
  }
};

// (x, indices [.., n]) -> y: each row of indices names a position (after batch_dims leading axes) in x.
struct GatherNd {
  static constexpr std::string_view kName = "gather_nd";
  int64_t batch_dims = 0;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("batch_dims", s.batch_dims);
  }
};

enum class ScatterReduction : uint8_t { none, add, mul, max, min };

// (x, indices, updates) -> x with updates[i,j,k] put at [i, indices[i,j,k], k] for axis 1.
struct ScatterElements {
  static constexpr std::string_view kName = "scatter_elements";
  int64_t axis = 0;
  ScatterReduction reduction = ScatterReduction::none;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("axis", s.axis);
    visit("reduction", s.reduction);
  }
};

// (x, indices [.., n], updates) -> x with slices replaced.
struct ScatterNd {
  static constexpr std::string_view kName = "scatter_nd";
  ScatterReduction reduction = ScatterReduction::none;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("reduction", s.reduction);
  }
};

}  // namespace lathe
