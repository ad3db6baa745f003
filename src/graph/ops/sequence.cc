// Inference for operations on sequences and optionals.
#include "graph/ops/infer_ops.h"

namespace lathe {
namespace {

const Type& sequence(const InferContext& c, size_t i) {
  const Type& type = c.operand(i);
  if (type.kind != Type::Kind::sequence) c.fail("operand {} must be a sequence", i);
  return type;
}

void expect_position(const InferContext& c, size_t i) {
  if (!c.has(i)) return;
  c.index_tensor(i);
  c.expect_rank(i, 0);
}

Type element(Type type) {
  type.kind = Type::Kind::tensor;
  return type;
}

// One element: those of a sequence may differ in the sizes that symbols stand for, which nothing binds.
Type one_element(const InferContext& c, Type type) {
  for (Dim& size : type.shape)
    if (!size.is_constant()) size = c.fresh();
  return element(std::move(type));
}

Type sequence_of(Type type) {
  type.kind = Type::Kind::sequence;
  return type;
}

// The type of elements that are of type `a` or of type `b`.
Type join(const InferContext& c, const Type& a, const Type& b) {
  if (a.dtype != b.dtype) c.fail("elements of types {} and {} in one sequence", to_string(a.dtype), to_string(b.dtype));
  return a == b ? a : Type::unranked(a.dtype);
}

Type construct(const Sequence& op, const InferContext& c) {
  if (c.count() == 0) return Type::sequence(op.dtype);
  Type type = c.tensor(0);
  for (size_t i = 1; i < c.count(); ++i) type = join(c, type, c.tensor(i));
  return sequence_of(std::move(type));
}

Type split(const Sequence& op, const InferContext& c) {
  c.expect_inputs(1, 2);
  Type type = c.tensor(0);
  if (c.has(1)) {
    c.index_tensor(1);
    return Type::sequence(type.dtype);
  }
  if (type.ranked) {
    const size_t axis = c.axis(op.axis, type.rank());
    if (op.keep_dims)
      type.shape[axis] = 1;
    else
      type.shape.erase(type.shape.begin() + static_cast<std::ptrdiff_t>(axis));
  }
  return sequence_of(std::move(type));
}

Type concat(const Sequence& op, const InferContext& c) {
  c.expect_inputs(1, 1);
  Type type = element(sequence(c, 0));
  if (!type.ranked) return type;
  const size_t axis = c.axis(op.axis, type.rank() + (op.new_axis ? 1 : 0));
  if (op.new_axis)
    type.shape.insert(type.shape.begin() + static_cast<std::ptrdiff_t>(axis), c.fresh());
  else
    type.shape[axis] = c.fresh();
  return type;
}

Type optional_make(const Sequence& op, const InferContext& c) {
  c.expect_inputs(0, 1);
  Type type = c.has(0) ? c.operand(0) : Type::unranked(op.dtype);
  if (type.kind != Type::Kind::tensor && type.kind != Type::Kind::sequence) c.fail("an optional cannot hold another");
  type.kind = type.kind == Type::Kind::sequence ? Type::Kind::optional_sequence : Type::Kind::optional;
  return type;
}

Type optional_get(const InferContext& c) {
  c.expect_inputs(1, 1);
  Type type = c.operand(0);
  if (type.kind == Type::Kind::optional) type.kind = Type::Kind::tensor;
  if (type.kind == Type::Kind::optional_sequence) type.kind = Type::Kind::sequence;
  return type;
}

Type insert(const InferContext& c) {
  c.expect_inputs(2, 3);
  expect_position(c, 2);
  return sequence_of(join(c, element(sequence(c, 0)), c.tensor(1)));
}

Type result(const Sequence& op, const InferContext& c) {
  switch (op.kind) {
    case SequenceKind::construct: return construct(op, c);
    case SequenceKind::insert: return insert(c);
    case SequenceKind::erase:
      c.expect_inputs(1, 2);
      expect_position(c, 1);
      return sequence(c, 0);
    case SequenceKind::at:
      c.expect_inputs(2, 2);
      expect_position(c, 1);
      return one_element(c, sequence(c, 0));
    case SequenceKind::length:
      c.expect_inputs(1, 1);
      sequence(c, 0);
      return Type::tensor(DType::i64, {});
    case SequenceKind::split: return split(op, c);
    case SequenceKind::concat: return concat(op, c);
    case SequenceKind::optional_make: return optional_make(op, c);
    case SequenceKind::optional_has: c.expect_inputs(0, 1); return Type::tensor(DType::boolean, {});
    case SequenceKind::optional_get: return optional_get(c);
  }
  return {};
}

}  // namespace

Types infer_op(const Sequence& op, InferContext& c) { return {result(op, c)}; }

}  // namespace lathe
