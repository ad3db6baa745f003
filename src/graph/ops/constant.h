// Sources of values that no input feeds: weights, dimension tensors, and the binding of symbols to run-time values.
#pragma once

#include "graph/ops/field_types.h"
#include "graph/tensor.h"

namespace lathe {

// () -> value. A weight or a folded result.
struct Constant {
  static constexpr std::string_view kName = "constant";
  Tensor value;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("value", s.value);
  }
};

// () -> i64 tensor whose elements are dimension expressions: what is left of shape arithmetic that a model computes
// with as data. `scalar` gives rank 0 and needs exactly one element; otherwise rank 1.
struct Dims {
  static constexpr std::string_view kName = "dims";
  Shape values;
  bool scalar = false;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("values", s.values);
    visit("scalar", s.scalar);
  }
};

// (integer tensor) -> nothing. Binds one symbol per element, in row-major order, to the run-time values of the tensor;
// the tensor must have exactly that many elements. Symbols of values begin with '$' (any sign). Nodes that mention a
// symbol come later in the list.
struct Bind {
  static constexpr std::string_view kName = "bind";
  std::vector<std::string> symbols;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("symbols", s.symbols);
  }
};

}  // namespace lathe
