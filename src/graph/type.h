// The type of a value: an element type and a symbolic shape; or a sequence or optional of such tensors.
#pragma once

#include <string>

#include "base/dtype.h"
#include "graph/dim.h"

namespace lathe {

struct Type {
  enum class Kind : uint8_t { tensor, sequence, optional, optional_sequence };

  Kind kind = Kind::tensor;
  DType dtype = DType::f32;
  bool ranked = true;  // false: not even the rank is known before run time; shape is empty then
  Shape shape;         // of the tensor, or of the elements of the sequence

  static Type tensor(DType dtype, Shape shape) { return Type{Kind::tensor, dtype, true, std::move(shape)}; }
  static Type unranked(DType dtype) { return Type{Kind::tensor, dtype, false, {}}; }
  static Type sequence(DType dtype) { return Type{Kind::sequence, dtype, false, {}}; }

  bool is_tensor() const { return kind == Kind::tensor; }
  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  friend bool operator==(const Type& a, const Type& b) = default;
};

// "f32[batch, 128]", "i64[]", "f32[*]" (unranked), "seq<f32[*]>", "optional<f32[2]>".
std::string to_string(const Type& type);

}  // namespace lathe
