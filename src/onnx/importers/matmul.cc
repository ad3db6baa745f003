// Matrix products of floats: MatMul, Gemm, FusedMatMul. Quantised ones are in quantize.cc.
#include "onnx/importers/matmul.h"

#include <algorithm>
#include <numeric>

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {

// A vector on the left is a row, on the right a column; the axis that this adds is dropped from the result.
Value* numpy_matmul(Emitter& emitter, Value* a, Value* b) {
  const bool row = a->type().rank() == 1, column = b->type().rank() == 1;
  if (row) a = emitter.unsqueeze(a, {0});
  if (column) b = emitter.unsqueeze(b, {1});
  Value* y = emitter.matmul(a, b);
  std::vector<int64_t> added;
  if (row) added.push_back(y->type().rank() - 2);
  if (column) added.push_back(y->type().rank() - 1);
  return added.empty() ? y : emitter.squeeze(y, added);
}

namespace {

void import_matmul(Context& ctx) {
  if (ctx.rank(0) == 0 || ctx.rank(1) == 0) ctx.invalid("an operand is a scalar");
  ctx.set_output(0, numpy_matmul(ctx, ctx.input(0), ctx.input(1)));
}

// alpha * a b + beta * c, with c in the epilogue.
void import_gemm(Context& ctx) {
  MatMul op;
  op.trans_a = ctx.attr_bool("transA", false);
  op.trans_b = ctx.attr_bool("transB", false);
  const double alpha = ctx.attr_float("alpha", 1), beta = ctx.attr_float("beta", 1);
  const DType dtype = ctx.dtype(0);
  const bool add = ctx.has_input(2) && beta != 0;
  std::vector<Value*> operands = {ctx.input(0), ctx.input(1)};
  if (add) operands.push_back(ctx.input(2));
  if (add || alpha != 1) {
    const auto number = [&](double v) {
      return is_float(dtype) ? op.epilogue.constant(v, dtype)
                             : op.epilogue.constant_int(static_cast<int64_t>(v), dtype);
    };
    int y = op.epilogue.input(0, dtype);
    const int c = add ? op.epilogue.input(1, dtype) : 0;
    if (alpha != 1) y = op.epilogue.binary(MapOp::mul, number(alpha), y);
    if (add) y = op.epilogue.binary(MapOp::add, y, beta == 1 ? c : op.epilogue.binary(MapOp::mul, number(beta), c));
    op.epilogue.finish(y);
  }
  ctx.set_output(0, ctx.emit(std::move(op), std::move(operands)));
}

// With transBatch, the axis of rows (transposed: of columns) stands before the batch axes.
Value* batch_first(Context& ctx, size_t i, std::string_view attribute) {
  if (!ctx.attr_bool(attribute, false) || ctx.rank(i) < 3) return ctx.input(i);
  std::vector<int64_t> perm(static_cast<size_t>(ctx.rank(i)));
  std::iota(perm.begin(), perm.end(), 0);
  std::rotate(perm.begin(), perm.begin() + 1, perm.end() - 1);
  return ctx.transpose(ctx.input(i), std::move(perm));
}

void import_fused_matmul(Context& ctx) {
  if (ctx.rank(0) < 2 || ctx.rank(1) < 2) return import_matmul(ctx);
  MatMul op;
  op.trans_a = ctx.attr_bool("transA", false);
  op.trans_b = ctx.attr_bool("transB", false);
  const double alpha = ctx.attr_float("alpha", 1);
  if (alpha != 1) {
    const int product = op.epilogue.input(0, ctx.dtype(0));
    op.epilogue.finish(op.epilogue.binary(MapOp::mul, product, op.epilogue.constant(alpha, ctx.dtype(0))));
  }
  ctx.set_output(0, ctx.emit(std::move(op), {batch_first(ctx, 0, "transBatchA"), batch_first(ctx, 1, "transBatchB")}));
}

void import_det(Context& ctx) {
  Extern op;
  op.kernel = "det";
  ctx.set_output(0, ctx.emit(std::move(op), {ctx.input(0)}));
}

constexpr OpRow kRows[] = {
    {"", "Det", 11, import_det},
    {"", "Gemm", 1, import_gemm},
    {"", "MatMul", 1, import_matmul},
    {kMicrosoft, "FusedMatMul", 1, import_fused_matmul},
    {kMicrosoft, "TransposeMatMul", 1, import_fused_matmul},
};

}  // namespace

std::span<const OpRow> matmul_ops() { return kRows; }

}  // namespace lathe::onnx
