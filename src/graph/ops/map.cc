// Inference for map.
#include <algorithm>

#include "graph/ops/infer_ops.h"

namespace lathe {
namespace {

// iota(-4) needs an index space of four axes.
void check_iotas(const InferContext& c, const MapProgram& program, const Shape& shape) {
  for (const MapInstr& instr : program.code())
    if (instr.op == MapOp::iota && -static_cast<int64_t>(instr.args[0]) > static_cast<int64_t>(shape.size()))
      c.fail("iota({}) in an index space of {} axes", instr.args[0], shape.size());
}

}  // namespace

Types infer_op(const Map& op, InferContext& c) {
  const std::vector<const Type*> inputs = c.tensors_from(0);
  check_program(c, op.program, {}, 0, c.count());
  const DType dtype = op.program.result_type();
  if (op.shape) {
    for (size_t i = 0; i < c.count(); ++i) c.expect_broadcasts_to(i, *op.shape);
    check_iotas(c, op.program, *op.shape);
    return {Type::tensor(dtype, *op.shape)};
  }
  if (std::any_of(inputs.begin(), inputs.end(), [](const Type* type) { return !type->ranked; }))
    return {Type::unranked(dtype)};
  Shape shape;
  for (const Type* input : inputs) shape = c.broadcast(shape, input->shape);
  check_iotas(c, op.program, shape);
  return {Type::tensor(dtype, std::move(shape))};
}

}  // namespace lathe
