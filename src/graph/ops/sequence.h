// Sequences and optionals of tensors.
#pragma once

#include "graph/ops/field_types.h"

namespace lathe {

enum class SequenceKind : uint8_t {
  construct,  // (tensors..) -> sequence; no operands: empty, of element type dtype
  insert,     // (sequence, tensor, position i64 []?) -> sequence
  erase,      // (sequence, position?) -> sequence
  at,         // (sequence, position) -> tensor
  length,     // (sequence) -> i64 []
  split,   // (tensor, sizes i64 [] or [n]?) -> sequence along axis; without sizes, slices of 1, axis kept if keep_dims
  concat,  // (sequence) -> tensor along axis, or along a new axis
  optional_make,  // (value?) -> optional
  optional_has,   // (optional or value?) -> bool []
  optional_get,   // (optional or value) -> value
};

struct Sequence {
  static constexpr std::string_view kName = "sequence";
  SequenceKind kind = SequenceKind::construct;
  DType dtype = DType::f32;
  int64_t axis = 0;
  bool new_axis = false;
  bool keep_dims = true;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("kind", s.kind);
    visit("dtype", s.dtype);
    visit("axis", s.axis);
    visit("new_axis", s.new_axis);
    visit("keep_dims", s.keep_dims);
  }
};

}  // namespace lathe
