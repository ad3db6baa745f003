#include "onnx/importers/emitter.h"

#include <algorithm>
#include <numeric>

namespace lathe::onnx {

Value* Emitter::scalar(double value, DType dtype) {
  Tensor t(dtype, std::vector<int64_t>{});
  t.write_double(0, value);
  return constant(std::move(t));
}

Value* Emitter::integers(const std::vector<int64_t>& values) {
  return constant(Tensor::of<int64_t>({static_cast<int64_t>(values.size())}, std::span<const int64_t>(values)));
}

Value* Emitter::cast(Value* x, DType dtype) {
  return x->dtype() == dtype ? x : emit(Map{cast_program(x->dtype(), dtype), {}}, {x});
}

Value* Emitter::iota(Shape shape, int axis_from_end) {
  return map(
      {}, [&](MapProgram& p, const auto&) { return p.iota(axis_from_end); }, std::move(shape));
}

Value* Emitter::reshape(Value* x, Shape shape) {
  if (x->type().ranked && x->shape() == shape) return x;
  return emit(Reshape{std::move(shape)}, {x});
}

Value* Emitter::transpose(Value* x, std::vector<int64_t> perm) {
  std::vector<int64_t> same(perm.size());
  std::iota(same.begin(), same.end(), 0);
  return perm == same ? x : emit(Transpose{std::move(perm)}, {x});
}

Value* Emitter::expand(Value* x, Shape shape) {
  if (x->type().ranked && x->shape() == shape) return x;
  return emit(Map{identity_program(x->dtype()), std::move(shape)}, {x});
}

Value* Emitter::slice(Value* x, int64_t axis, Dim start, Dim count, int64_t step) {
  return emit(Slice{{axis}, {std::move(start)}, {std::move(count)}, {step}}, {x});
}

Value* Emitter::concat(std::vector<Value*> parts, int64_t axis) {
  return parts.size() == 1 ? parts[0] : emit(Concat{axis}, std::move(parts));
}

Value* Emitter::unsqueeze(Value* x, const std::vector<int64_t>& axes) {
  Shape shape = x->shape();
  for (const int64_t axis : axes) shape.insert(shape.begin() + axis, Dim(1));
  return reshape(x, std::move(shape));
}

Value* Emitter::squeeze(Value* x, const std::vector<int64_t>& axes) {
  Shape shape = x->shape();
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) shape.erase(shape.begin() + *axis);
  return reshape(x, std::move(shape));
}

Value* Emitter::reduce(ReduceKind kind, Value* x, std::vector<int64_t> axes, bool keep_dims) {
  return emit(Reduce{kind, std::move(axes), keep_dims}, {x});
}

Value* Emitter::matmul(Value* a, Value* b, bool trans_a, bool trans_b) {
  MatMul op;
  op.trans_a = trans_a;
  op.trans_b = trans_b;
  return emit(std::move(op), {a, b});
}

Shape Emitter::bind(Value* integers, int64_t count, Sign sign) {
  Bind op;
  Shape symbols;
  for (int64_t i = 0; i < count; ++i) {
    op.symbols.push_back(graph_.symbols().fresh(sign == Sign::any ? "$" : "u"));
    symbols.push_back(Dim::symbol(op.symbols.back()));
  }
  graph_.append_typed(std::move(op), {integers}, {}, node_name_);
  return symbols;
}

}  // namespace lathe::onnx
