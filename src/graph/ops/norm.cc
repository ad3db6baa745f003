// Inference for norm and group_norm.
#include <algorithm>

#include "graph/ops/infer_ops.h"

namespace lathe {
namespace {

// Scales and biases may be kept in f32 beside a narrower tensor.
void expect_parameter(const InferContext& c, size_t i, DType dtype) {
  if (c.tensor(i).dtype != dtype && c.tensor(i).dtype != DType::f32)
    c.fail("operand {} must be of type {} or f32", i, to_string(dtype));
}

// The tensor that a norm normalises.
Type normalised(const Norm& op, const InferContext& c, size_t num_x) {
  if (op.prologue.empty()) {
    if (num_x != 1) c.fail("has {} tensors to normalise but no prologue that joins them", num_x);
    return c.float_tensor(0);
  }
  check_program(c, op.prologue, {}, 0, num_x);
  const DType dtype = op.prologue.result_type();
  if (!is_float(dtype)) c.fail("the prologue must give floating-point numbers");
  Shape shape;
  for (size_t i = 0; i < num_x; ++i) {
    if (!c.tensor(i).ranked) return Type::unranked(dtype);
    shape = c.broadcast(shape, c.tensor(i).shape);
  }
  return Type::tensor(dtype, std::move(shape));
}

// The bytes of rows and their scales.
void add_bytes(const Norm& op, const Type& v, DType bytes, Types& results) {
  Type scale = Type::unranked(DType::f32);
  if (v.ranked) {
    Shape shape = v.shape;
    std::fill(shape.begin() + op.axis, shape.end(), Dim(1));
    scale = Type::tensor(DType::f32, std::move(shape));
  }
  results.push_back(v.ranked ? Type::tensor(bytes, v.shape) : Type::unranked(bytes));
  results.push_back(std::move(scale));
}

}  // namespace

Types infer_op(const Norm& op, InferContext& c) {
  if (op.num_x < 1 || op.num_x > static_cast<int64_t>(c.count())) c.fail("num_x = {} does not fit", op.num_x);
  const auto num_x = static_cast<size_t>(op.num_x);
  c.expect_inputs(num_x, num_x + 2);
  c.expect_outputs(6);
  const Type v = normalised(op, c, num_x);
  for (size_t i = num_x; i < c.count(); ++i)
    if (c.has(i)) expect_parameter(c, i, v.dtype);
  if (v.ranked) {
    const size_t axis = c.axis(op.axis, v.rank());
    const Shape tail(v.shape.begin() + static_cast<std::ptrdiff_t>(axis), v.shape.end());
    for (size_t i = num_x; i < c.count(); ++i)
      if (c.has(i)) c.expect_broadcasts_to(i, tail);
  }
  Types results(2, v);
  for (const DType bytes : {DType::i8, DType::f8e4m3}) add_bytes(op, v, bytes, results);
  results.resize(c.num_outputs());
  return results;
}

Types infer_op(const GroupNorm& op, InferContext& c) {
  c.expect_inputs(3, 3);
  const Type& x = c.float_tensor(0);
  for (size_t i = 1; i < 3; ++i) {
    expect_parameter(c, i, x.dtype);
    c.expect_rank(i, 1);
    if (x.ranked && c.tensor(i).ranked && x.rank() >= 2)
      c.same(c.tensor(i).shape[0], x.shape[1], "parameter size and channels");
  }
  if (op.groups < 0) c.fail("{} groups", op.groups);
  if (!x.ranked) return {x};
  if (x.rank() < 2) c.fail("the input needs a batch and a channel axis");
  if (op.groups > 0 && x.shape[1].is_constant() && x.shape[1].value() % op.groups != 0)
    c.fail("{} channels cannot be divided into {} groups", x.shape[1].value(), op.groups);
  return {x};
}

}  // namespace lathe
