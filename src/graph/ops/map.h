// Elementwise work of every kind: arithmetic, comparison, casts, masks, activation functions, broadcasting.
#pragma once

#include "graph/map_program.h"
#include "graph/ops/field_types.h"

namespace lathe {

// (x0, .., xn) -> y: y[i] = program(x0[i], .., xn[i]) over the broadcast of the inputs' shapes, or over `shape` where
// it is set (the inputs broadcast to it: an Expand is the identity program with a shape; a Range has no inputs at all).
struct Map {
  static constexpr std::string_view kName = "map";
  MapProgram program;
  std::optional<Shape> shape;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("program", s.program);
    visit("shape", s.shape);
  }
};

}  // namespace lathe
