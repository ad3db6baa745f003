// Gathers, scatters, TensorScatter, OneHot, Compress.
#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

void import_gather(Context& ctx) {
  ctx.set_output(0, ctx.gather(ctx.input(0), ctx.input(1), ctx.resolve_axis(ctx.attr_int("axis", 0), ctx.rank(0))));
}

void import_gather_elements(Context& ctx) {
  const int64_t axis = ctx.resolve_axis(ctx.attr_int("axis", 0), ctx.rank(0));
  ctx.set_output(0, ctx.emit(GatherElements{axis}, {ctx.input(0), ctx.input(1)}));
}

void import_gather_nd(Context& ctx) {
  ctx.set_output(0, ctx.emit(GatherNd{ctx.attr_int("batch_dims", 0)}, {ctx.input(0), ctx.input(1)}));
}

ScatterReduction scatter_reduction(Context& ctx) {
  const std::string name = ctx.attr_string("reduction", "none");
  if (name == "none") return ScatterReduction::none;
  if (name == "add") return ScatterReduction::add;
  if (name == "mul") return ScatterReduction::mul;
  if (name == "max") return ScatterReduction::max;
  if (name == "min") return ScatterReduction::min;
  ctx.invalid(fmt::format("there is no reduction '{}'", name));
}

void import_scatter_elements(Context& ctx) {
  ScatterElements op{ctx.resolve_axis(ctx.attr_int("axis", 0), ctx.rank(0)), scatter_reduction(ctx)};
  ctx.set_output(0, ctx.emit(op, {ctx.input(0), ctx.input(1), ctx.input(2)}));
}

void import_scatter_nd(Context& ctx) {
  ctx.set_output(0, ctx.emit(ScatterNd{scatter_reduction(ctx)}, {ctx.input(0), ctx.input(1), ctx.input(2)}));
}

// Each batch entry of a cache takes in its update from a position of its own on; a circular one goes on at its begin.
void import_tensor_scatter(Context& ctx) {
  const int64_t rank = ctx.rank(0), axis = ctx.resolve_axis(ctx.attr_int("axis", -2), rank);
  const Dim length = ctx.shape(0)[static_cast<size_t>(axis)];
  const bool circular = ctx.attr_string("mode", "linear") == "circular";
  std::vector<Value*> first;
  if (ctx.has_input(2)) {
    Shape column(static_cast<size_t>(rank), Dim(1));
    column[0] = ctx.shape(2).at(0);
    first.push_back(ctx.reshape(ctx.cast(ctx.input(2), DType::i64), column));
  }
  Value* positions = ctx.map(
      first,
      [&](MapProgram& p, const std::vector<int>& in) {
        const int offset = p.iota(static_cast<int>(axis - rank));
        const int position = in.empty() ? offset : p.binary(MapOp::add, in[0], offset);
        return circular ? p.binary(MapOp::floor_mod, position, p.dim(length)) : position;
      },
      ctx.shape(1));
  ctx.set_output(0, ctx.emit(ScatterElements{axis, ScatterReduction::none}, {ctx.input(0), positions, ctx.input(1)}));
}

// Row i of the result is `on` where the new axis counts indices[i] (from the end when negative), else `off`.
void import_one_hot(Context& ctx) {
  const int64_t rank = ctx.rank(0) + 1;
  const int64_t axis = ctx.resolve_axis(ctx.attr_int("axis", -1), rank);
  // ONNX lets the depth be a float.
  const Dim depth = !is_float(ctx.dtype(1)) ? ctx.sizes(1).at(0)
                    : ctx.constant(1)       ? Dim(static_cast<int64_t>(ctx.constant_number(1, 0)))
                                            : ctx.bind(ctx.cast(ctx.input(1), DType::i64), 1, Sign::nonnegative)[0];
  Value* indices = ctx.unsqueeze(ctx.cast(ctx.input(0), DType::i64), {axis});
  Value *off = ctx.slice(ctx.input(2), 0, 0, 1), *on = ctx.slice(ctx.input(2), 0, 1, 1);
  Shape shape = indices->shape();
  shape[static_cast<size_t>(axis)] = depth;
  ctx.set_output(0, ctx.map(
                        {indices, ctx.reshape(off, {}), ctx.reshape(on, {})},
                        [&](MapProgram& p, const auto& in) {
                          const int negative = p.binary(MapOp::lt, in[0], p.constant_int(0, DType::i64));
                          const int index = p.select(negative, p.binary(MapOp::add, in[0], p.dim(depth)), in[0]);
                          return p.select(p.binary(MapOp::eq, p.iota(static_cast<int>(axis - rank)), index), in[2],
                                          in[1]);
                        },
                        shape));
}

// The slices whose condition holds; without an axis, of the flattened operand.
void import_compress(Context& ctx) {
  Value* x = ctx.input(0);
  int64_t axis = 0;
  if (ctx.has_attr("axis"))
    axis = ctx.resolve_axis(ctx.attr_int("axis", 0), ctx.rank(0));
  else
    x = ctx.reshape(x, {product(ctx.shape(0))});
  Value* positions = ctx.emit(NonZero{}, {ctx.input(1)});
  ctx.set_output(0, ctx.gather(x, ctx.reshape(positions, {positions->shape()[1]}), axis));
}

constexpr OpRow kRows[] = {
    {"", "Compress", 9, import_compress},
    {"", "Gather", 1, import_gather},
    {"", "GatherElements", 11, import_gather_elements},
    {"", "GatherND", 11, import_gather_nd},
    {"", "OneHot", 9, import_one_hot},
    {"", "Scatter", 9, import_scatter_elements},
    {"", "ScatterElements", 11, import_scatter_elements},
    {"", "ScatterND", 11, import_scatter_nd},
    {"", "TensorScatter", 24, import_tensor_scatter},
    {kMicrosoft, "GatherND", 1, import_gather_nd},
};

}  // namespace

std::span<const OpRow> gather_ops() { return kRows; }

}  // namespace lathe::onnx
