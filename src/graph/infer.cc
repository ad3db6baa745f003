#include "graph/infer.h"

#include <algorithm>

#include "graph/ops/infer_ops.h"

namespace lathe {

std::vector<Type> infer(const Op& op, std::span<const Type* const> inputs, size_t num_outputs, SymbolSource& symbols) {
  InferContext context(op_name(op), inputs, num_outputs, symbols);
  return std::visit([&](const auto& o) { return infer_op(o, context); }, op);
}

void InferContext::fail_with(std::string message) const {
  std::string operands;
  for (const Type* type : inputs_) {
    if (!operands.empty()) operands += ", ";
    operands += type == nullptr ? "_" : to_string(*type);
  }
  lathe::fail(ErrorCode::invalid_model, "{}({}): {}", op_, operands, message);
}

void InferContext::expect_inputs(size_t least, size_t most) const {
  if (count() >= least && count() <= most) return;
  if (least == most) fail("takes {} operands, {} are given", least, count());
  if (most == SIZE_MAX) fail("takes {} operands or more, {} are given", least, count());
  fail("takes {} to {} operands, {} are given", least, most, count());
}

void InferContext::expect_outputs(size_t most) const {
  if (num_outputs_ < 1 || num_outputs_ > most) fail("gives 1 to {} results, {} are asked for", most, num_outputs_);
}

const Type& InferContext::operand(size_t i) const {
  if (!has(i)) fail("operand {} is missing", i);
  return *inputs_[i];
}

const Type& InferContext::tensor(size_t i) const {
  if (!operand(i).is_tensor()) fail("operand {} must be a tensor", i);
  return *inputs_[i];
}

std::vector<const Type*> InferContext::tensors_from(size_t first) const {
  std::vector<const Type*> types;
  for (size_t i = first; i < count(); ++i) types.push_back(&tensor(i));
  return types;
}

const Type& InferContext::float_tensor(size_t i) const {
  if (!is_float(tensor(i).dtype)) fail("operand {} must hold floating-point numbers", i);
  return *inputs_[i];
}

const Type& InferContext::index_tensor(size_t i) const {
  const DType type = tensor(i).dtype;
  if (type != DType::i32 && type != DType::i64) fail("operand {} must hold i32 or i64 indices", i);
  return *inputs_[i];
}

void InferContext::expect_dtype(size_t i, DType type) const {
  if (tensor(i).dtype != type) fail("operand {} must be of type {}", i, to_string(type));
}

void InferContext::expect_rank(size_t i, int64_t rank) const {
  const Type& type = tensor(i);
  if (type.ranked && type.rank() != rank) fail("operand {} must have {} axes", i, rank);
}

void InferContext::expect_broadcasts_to(size_t i, const Shape& shape) const {
  const Type& type = tensor(i);
  if (!type.ranked) return;
  bool fits = type.shape.size() <= shape.size();
  for (size_t k = 1; fits && k <= type.shape.size(); ++k) {
    const Dim &from = type.shape[type.shape.size() - k], &to = shape[shape.size() - k];
    fits = !from.is_constant() || !to.is_constant() || from == to || from == Dim(1);
  }
  if (!fits) fail("operand {} does not broadcast to {}", i, to_string(shape));
}

size_t InferContext::axis(int64_t axis, int64_t rank) const {
  if (axis < 0 || axis >= rank) fail("axis {} is not one of the {} axes", axis, rank);
  return static_cast<size_t>(axis);
}

bool never_equal(const Dim& a, const Dim& b) {
  const Dim difference = a - b;
  return difference.is_constant() && difference.value() != 0;
}

Dim InferContext::same(const Dim& a, const Dim& b, std::string_view what) const {
  if (never_equal(a, b)) fail("{}: {} and {} differ", what, a.to_string(), b.to_string());
  return b.is_constant() ? b : a;
}

Shape InferContext::same(const Shape& a, const Shape& b, std::string_view what) const {
  if (a.size() != b.size()) fail("{}: {} and {} have different ranks", what, to_string(a), to_string(b));
  Shape shape;
  for (size_t i = 0; i < a.size(); ++i) shape.push_back(same(a[i], b[i], what));
  return shape;
}

Shape InferContext::broadcast(const Shape& a, const Shape& b) const {
  try {
    return lathe::broadcast(a, b);
  } catch (const Error& error) {
    fail("{} and {} do not broadcast: {}", to_string(a), to_string(b), error.message());
  }
}

void check_program(const InferContext& c, const MapProgram& program, std::vector<DType> leading, size_t first,
                   size_t last) {
  for (size_t i = first; i < last; ++i) leading.push_back(c.tensor(i).dtype);
  try {
    program.verify(leading);
  } catch (const Error& error) {
    c.fail("{}", error.message());
  }
}

DType product_dtype(const InferContext& c, size_t a, size_t b) {
  const DType x = c.tensor(a).dtype, y = c.tensor(b).dtype;
  const auto accumulates_in_i32 = [](DType type) {
    return (is_integer(type) && bit_width(type) <= 16) || type == DType::i32;
  };
  if (accumulates_in_i32(x) && accumulates_in_i32(y)) return DType::i32;
  if (x == DType::f32 && is_half(y)) return x;
  if (x == DType::f8e4m3 && y == DType::f8e4m3) return DType::f32;  // what these accumulate in
  if (x != y || !(is_float(x) || is_integer(x)))
    c.fail("cannot multiply elements of types {} and {}", to_string(x), to_string(y));
  return x;
}

DType check_epilogue(const InferContext& c, const MapProgram& epilogue, DType product, const Shape& shape,
                     size_t first_extra) {
  if (epilogue.empty()) {
    if (c.count() > first_extra) c.fail("has extra operands but no epilogue that uses them");
    return product;
  }
  check_program(c, epilogue, {product}, first_extra, c.count());
  for (size_t i = first_extra; i < c.count(); ++i) c.expect_broadcasts_to(i, shape);
  return epilogue.result_type();
}

namespace {

std::vector<DType> with_dtypes(const InferContext& c, std::vector<DType> leading, size_t first, size_t last) {
  for (size_t i = first; i < last; ++i) leading.push_back(c.tensor(i).dtype);
  return leading;
}

std::vector<DType> program_inputs_of(const Map&, const InferContext& c) { return with_dtypes(c, {}, 0, c.count()); }
std::vector<DType> program_inputs_of(const Norm& op, const InferContext& c) {
  return with_dtypes(c, {}, 0, static_cast<size_t>(std::max<int64_t>(op.num_x, 0)));
}
std::vector<DType> program_inputs_of(const Attention& op, const InferContext& c) {
  return with_dtypes(c, {c.tensor(0).dtype}, first_extra(op), c.count());
}
std::vector<DType> product_program_inputs(const InferContext& c) {
  return with_dtypes(c, {product_dtype(c, 0, 1)}, 2, c.count());
}
std::vector<DType> program_inputs_of(const MatMul&, const InferContext& c) { return product_program_inputs(c); }
std::vector<DType> program_inputs_of(const MatMulNBits&, const InferContext& c) {
  return with_dtypes(c, {c.tensor(0).dtype}, kNBitsOperands, c.count());
}
std::vector<DType> program_inputs_of(const Conv&, const InferContext& c) { return product_program_inputs(c); }
std::vector<DType> program_inputs_of(const ConvTranspose&, const InferContext& c) { return product_program_inputs(c); }
template <class T>
std::vector<DType> program_inputs_of(const T&, const InferContext&) {
  return {};
}

}  // namespace

std::vector<DType> program_inputs(const Op& op, std::span<const Type* const> inputs) {
  SymbolSource unused;
  const InferContext context(op_name(op), inputs, 1, unused);
  return std::visit([&](const auto& o) { return program_inputs_of(o, context); }, op);
}

}  // namespace lathe
