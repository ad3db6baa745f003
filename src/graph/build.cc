#include "graph/build.h"

#include <algorithm>

#include "base/error.h"

namespace lathe {
namespace {

int64_t resolved(int64_t axis, const Value* x) {
  if (axis >= 0) return axis;
  if (!x->type().ranked) fail(ErrorCode::invalid_model, "axis {} of %{}, whose rank is not known", axis, x->name());
  return axis + x->type().rank();
}

bool has_shape(const Value* x, const Shape& shape) { return x->type().ranked && x->shape() == shape; }

}  // namespace

Value* emit(Place at, Op op, std::vector<Value*> inputs) {
  if (at.before == nullptr) return at.graph.emit(std::move(op), std::move(inputs));
  return at.graph.insert_before(at.before, std::move(op), std::move(inputs), 1, at.before->name())->output();
}

Value* constant(Place at, Tensor value) { return emit(at, Constant{std::move(value)}, {}); }

Value* scalar(Place at, double value, DType dtype) {
  Tensor tensor(dtype, {});
  tensor.write_double(0, value);
  return constant(at, std::move(tensor));
}

Value* map1(Place at, MapOp op, Value* x) { return emit(at, Map{unary_program(op, x->dtype()), {}}, {x}); }

Value* map2(Place at, MapOp op, Value* a, Value* b) {
  return emit(at, Map{binary_program(op, a->dtype()), {}}, {a, b});
}

Value* cast(Place at, Value* x, DType dtype) {
  if (x->dtype() == dtype) return x;
  return emit(at, Map{cast_program(x->dtype(), dtype), {}}, {x});
}

Value* broadcast_to(Place at, Value* x, Shape shape) {
  if (has_shape(x, shape)) return x;
  return emit(at, Map{identity_program(x->dtype()), std::move(shape)}, {x});
}

Value* reshape(Place at, Value* x, Shape shape) {
  if (has_shape(x, shape)) return x;
  return emit(at, Reshape{std::move(shape)}, {x});
}

Value* transpose(Place at, Value* x, std::vector<int64_t> perm) {
  if (std::is_sorted(perm.begin(), perm.end())) return x;
  return emit(at, Transpose{std::move(perm)}, {x});
}

Value* slice_axis(Place at, Value* x, int64_t axis, Dim start, Dim size) {
  axis = resolved(axis, x);
  const bool whole =
      start == Dim(0) && x->type().ranked && axis < x->type().rank() && x->shape()[static_cast<size_t>(axis)] == size;
  if (whole) return x;
  return emit(at, Slice{{axis}, {std::move(start)}, {std::move(size)}, {1}}, {x});
}

Value* concat(Place at, std::vector<Value*> parts, int64_t axis) {
  LATHE_CHECK(!parts.empty());
  if (parts.size() == 1) return parts[0];
  axis = resolved(axis, parts[0]);
  return emit(at, Concat{axis}, std::move(parts));
}

Value* reduce(Place at, ReduceKind kind, Value* x, std::vector<int64_t> axes, bool keep_dims) {
  for (int64_t& axis : axes) axis = resolved(axis, x);
  std::sort(axes.begin(), axes.end());
  return emit(at, Reduce{kind, std::move(axes), keep_dims}, {x});
}

Value* matmul(Place at, Value* a, Value* b) { return emit(at, MatMul{}, {a, b}); }

}  // namespace lathe
