// Ops that make or change shapes: Reshape and its relatives, Expand, Tile, and the sources Constant, ConstantOfShape,
// Range.
#include <algorithm>

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

void import_constant(Context& ctx) {
  const auto strings = [&](std::vector<int64_t> dims, std::vector<std::string> values) {
    ctx.set_output(0, Tensor::of_strings(std::move(dims), std::move(values)));
  };
  if (ctx.has_attr("value")) return ctx.set_output(0, ctx.attr_tensor("value"));
  if (ctx.has_attr("sparse_value")) return ctx.set_output(0, ctx.attr_tensor("sparse_value"));
  if (ctx.has_attr("value_int")) return ctx.set_output(0, Tensor::scalar<int64_t>(ctx.attr_int("value_int", 0)));
  if (ctx.has_attr("value_float"))
    return ctx.set_output(0, Tensor::scalar(static_cast<float>(ctx.attr_float("value_float", 0))));
  if (ctx.has_attr("value_string")) return strings({}, {ctx.attr_string("value_string", "")});
  if (ctx.has_attr("value_strings")) {
    std::vector<std::string> values = ctx.attr_strings("value_strings");
    const auto count = static_cast<int64_t>(values.size());
    return strings({count}, std::move(values));
  }
  if (ctx.has_attr("value_floats")) {
    const std::vector<double> values = ctx.attr_floats("value_floats");
    const std::vector<float> floats(values.begin(), values.end());
    return ctx.set_output(0, Tensor::of<float>({static_cast<int64_t>(floats.size())}, std::span<const float>(floats)));
  }
  if (!ctx.has_attr("value_ints")) ctx.invalid("the constant has no value");
  const std::vector<int64_t> ints = ctx.attr_ints("value_ints");
  ctx.set_output(0, Tensor::of<int64_t>({static_cast<int64_t>(ints.size())}, std::span<const int64_t>(ints)));
}

void import_identity(Context& ctx) { ctx.forward(0); }

void import_shape(Context& ctx) {
  ctx.shape(0);
}  // symbolic evaluation failed: the rank is not known, and this says so

// One tensor of a fill value under a shape.
void import_constant_of_shape(Context& ctx) {
  Tensor value = ctx.has_attr("value") ? ctx.attr_tensor("value") : Tensor::scalar(0.0F);
  if (value.elements() != 1) ctx.invalid("the value must have one element");
  const Shape shape = ctx.sizes(0);
  ctx.set_output(0, ctx.expand(ctx.constant(value.reshaped({})), shape));
}

// Start, limit and step where they are whole: integers, or floats that are known to be sizes.
std::optional<Shape> whole_bounds(Context& ctx) {
  Shape bounds;
  for (size_t i = 0; i < 3; ++i) {
    if (is_integer(ctx.dtype(0))) {
      bounds.push_back(ctx.sizes(i, Sign::any).at(0));
      continue;
    }
    const SymbolicTensor* known = ctx.symbolic(i);
    if (known == nullptr || known->size() != 1 || known->elements[0].dim() == nullptr) return std::nullopt;
    bounds.push_back(*known->elements[0].dim());
  }
  return bounds;
}

Value* whole_range(Context& ctx, const Dim& start, const Dim& limit, const Dim& step) {
  if (step == Dim(0)) ctx.invalid("the step is 0");
  return ctx.map(
      {},
      [&](MapProgram& p, const auto&) {
        int at = p.iota(-1);
        if (!(step == Dim(1))) at = p.binary(MapOp::mul, at, p.dim(step));
        if (!(start == Dim(0))) at = p.binary(MapOp::add, at, p.dim(start));
        return p.cast(at, ctx.dtype(0));
      },
      Shape{max(ceil_div(limit - start, step), Dim(0))});
}

// start + i * step. Whole numbers are expressions, so no operand is left; other floats give their count at run time.
void import_range(Context& ctx) {
  if (const auto bounds = whole_bounds(ctx))
    return ctx.set_output(0, whole_range(ctx, (*bounds)[0], (*bounds)[1], (*bounds)[2]));
  const DType dtype = ctx.dtype(0);
  Value *start = ctx.reshape(ctx.input(0), {}), *step = ctx.reshape(ctx.input(2), {});
  Value* steps = ctx.map({start, ctx.reshape(ctx.input(1), {}), step}, [&](MapProgram& p, const auto& in) {
    const int whole = p.unary(MapOp::ceil, p.binary(MapOp::div, p.binary(MapOp::sub, in[1], in[0]), in[2]));
    return p.cast(p.binary(MapOp::max, whole, p.constant(0, dtype)), DType::i64);
  });
  const Dim count = ctx.bind(steps, 1, Sign::nonnegative)[0];
  ctx.set_output(0, ctx.map(
                        {start, step},
                        [&](MapProgram& p, const auto& in) {
                          return p.binary(MapOp::add, in[0], p.binary(MapOp::mul, p.cast(p.iota(-1), dtype), in[1]));
                        },
                        Shape{count}));
}

// Sizes with 0 (copy) and -1 (infer) that only the run time knows: the same resolution on the tensor itself.
Shape resolve_at_run_time(Context& ctx, bool allow_zero) {
  const Shape& from = ctx.shape(0);
  constexpr int64_t kMaxRank = 64;
  const Dim length = product(ctx.shape(1));
  if (!length.is_constant() || length.value() > kMaxRank)
    ctx.unsupported("the rank of the result is not known before the model runs");
  const int64_t count = length.value();
  Value* target = ctx.cast(ctx.reshape(ctx.input(1), {Dim(count)}), DType::i64);
  if (!allow_zero) {
    Shape copied(from.begin(), from.begin() + std::min<int64_t>(count, static_cast<int64_t>(from.size())));
    copied.resize(static_cast<size_t>(count), Dim(0));
    target = ctx.map({target, ctx.dims(copied)}, [](MapProgram& p, const auto& in) {
      return p.select(p.binary(MapOp::eq, in[0], p.constant_int(0, DType::i64)), in[1], in[0]);
    });
  }
  const auto inferred = [](MapProgram& p, int size) {
    return p.binary(MapOp::eq, size, p.constant_int(-1, DType::i64));
  };
  Value* known = ctx.reduce(ReduceKind::prod,
                            ctx.map({target},
                                    [&](MapProgram& p, const auto& in) {
                                      return p.select(inferred(p, in[0]), p.constant_int(1, DType::i64), in[0]);
                                    }),
                            {0});
  Value* resolved = ctx.map({target, known}, [&](MapProgram& p, const auto& in) {
    return p.select(inferred(p, in[0]), p.binary(MapOp::div, p.dim(product(from)), in[1]), in[0]);
  });
  return ctx.bind(resolved, count, Sign::nonnegative);
}

// A target's 0 (copy, unless zeros are allowed) and -1 (infer) as sizes.
Shape resolved(Context& ctx, Shape target, bool allow_zero) {
  std::optional<size_t> inferred;
  Dim rest(1);
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i] == Dim(0) && !allow_zero) {
      if (i >= static_cast<size_t>(ctx.rank(0))) ctx.invalid("the shape copies a size that the operand does not have");
      target[i] = ctx.shape(0)[i];
    }
    if (target[i] == Dim(-1)) {
      if (inferred) ctx.invalid("the shape has more than one -1");
      inferred = i;
    } else {
      rest = rest * target[i];
    }
  }
  if (inferred) target[*inferred] = rest == Dim(0) ? Dim(0) : floor_div(product(ctx.shape(0)), rest);
  return target;
}

Shape reshape_target(Context& ctx, bool allow_zero) {
  const SymbolicTensor* known = ctx.symbolic(1);
  if (known == nullptr && !ctx.known_integers(1)) return resolve_at_run_time(ctx, allow_zero);
  Shape target = ctx.sizes(1);
  const auto decided = [](const Element& e) { return e.is_nonnegative() || e.integer() == -1; };
  if (known != nullptr && !std::all_of(known->elements.begin(), known->elements.end(), decided))
    return resolve_at_run_time(ctx, allow_zero);
  return resolved(ctx, std::move(target), allow_zero);
}

void import_reshape(Context& ctx) {
  if (ctx.opset() < 5) {
    const std::vector<int64_t> shape = ctx.attr_ints("shape");
    return ctx.set_output(0, ctx.reshape(ctx.input(0), resolved(ctx, {shape.begin(), shape.end()}, false)));
  }
  if (ctx.type(0).ranked)
    return ctx.set_output(0, ctx.reshape(ctx.input(0), reshape_target(ctx, ctx.attr_bool("allowzero", false))));
  // Of an operand without known rank, only a shape that leaves nothing to infer can be used.
  const Shape target = ctx.sizes(1);
  const auto open = [](const Dim& d) { return d == Dim(0) || d == Dim(-1); };
  if (std::any_of(target.begin(), target.end(), open)) ctx.shape(0);
  ctx.set_output(0, ctx.emit(Reshape{target}, {ctx.input(0)}));
}

void import_flatten(Context& ctx) {
  const Shape& shape = ctx.shape(0);
  int64_t axis = ctx.attr_int("axis", 1);
  if (axis != ctx.rank(0)) axis = ctx.resolve_axis(axis, ctx.rank(0));
  const auto middle = shape.begin() + axis;
  ctx.set_output(
      0, ctx.reshape(ctx.input(0), {product(Shape(shape.begin(), middle)), product(Shape(middle, shape.end()))}));
}

std::vector<int64_t> axes_operand(Context& ctx) {
  return ctx.opset() < 13 ? ctx.attr_ints("axes") : ctx.has_input(1) ? ctx.integers(1) : std::vector<int64_t>();
}

void import_squeeze(Context& ctx) {
  std::vector<int64_t> axes = ctx.resolve_axes(axes_operand(ctx), ctx.rank(0));
  const bool all = ctx.opset() < 13 ? axes.empty() : !ctx.has_input(1);
  if (all) {
    for (int64_t i = 0; i < ctx.rank(0); ++i) {
      const Dim& size = ctx.shape(0)[static_cast<size_t>(i)];
      if (size == Dim(1))
        axes.push_back(i);
      else if (!size.is_constant())
        ctx.unsupported("which axes to squeeze depends on sizes that are not known before the model runs",
                        "Name the axes");
    }
  }
  ctx.set_output(0, ctx.squeeze(ctx.input(0), axes));
}

void import_unsqueeze(Context& ctx) {
  const std::vector<int64_t> axes = axes_operand(ctx);
  ctx.set_output(0,
                 ctx.unsqueeze(ctx.input(0), ctx.resolve_axes(axes, ctx.rank(0) + static_cast<int64_t>(axes.size()))));
}

void import_expand_dims(Context& ctx) {
  const int64_t axis = ctx.resolve_axis(ctx.integers(1).at(0), ctx.rank(0) + 1);
  ctx.set_output(0, ctx.unsqueeze(ctx.input(0), {axis}));
}

void import_expand(Context& ctx) { ctx.set_output(0, ctx.expand(ctx.input(0), broadcast(ctx.shape(0), ctx.sizes(1)))); }

// Before opset 6 there is one number of repeats, and the axis that it is for.
Shape repeats_of(Context& ctx) {
  if (ctx.opset() >= 6) return ctx.sizes(1);
  Shape repeats(ctx.shape(0).size(), Dim(1));
  repeats[static_cast<size_t>(ctx.resolve_axis(ctx.integers(2).at(0), ctx.rank(0)))] = ctx.sizes(1).at(0);
  return repeats;
}

// [a, b] tiled by [m, n] is [1, a, 1, b] broadcast to [m, a, n, b] and flattened.
void import_tile(Context& ctx) {
  const Shape& shape = ctx.shape(0);
  const Shape repeats = repeats_of(ctx);
  if (repeats.size() != shape.size()) ctx.invalid("the number of repeats differs from the rank");
  Shape split, repeated, result;
  for (size_t i = 0; i < shape.size(); ++i) {
    result.push_back(repeats[i] * shape[i]);
    if (!(repeats[i] == Dim(1))) {
      split.emplace_back(1);
      repeated.push_back(repeats[i]);
    }
    split.push_back(shape[i]);
    repeated.push_back(shape[i]);
  }
  ctx.set_output(0, ctx.reshape(ctx.expand(ctx.reshape(ctx.input(0), split), repeated), result));
}

void import_eye_like(Context& ctx) {
  if (ctx.rank(0) != 2) ctx.invalid("the operand must be a matrix");
  const DType dtype = ctx.attr_dtype("dtype", ctx.dtype(0));
  const int64_t k = ctx.attr_int("k", 0);
  ctx.set_output(0, ctx.map(
                        {},
                        [&](MapProgram& p, const auto&) {
                          const int diagonal = p.binary(MapOp::add, p.iota(-2), p.constant_int(k, DType::i64));
                          return p.cast(p.binary(MapOp::eq, p.iota(-1), diagonal), dtype);
                        },
                        ctx.shape(0)));
}

constexpr OpRow kRows[] = {
    {"", "Constant", 1, import_constant},   {"", "ConstantOfShape", 9, import_constant_of_shape},
    {"", "Expand", 8, import_expand},       {"", "EyeLike", 9, import_eye_like},
    {"", "Flatten", 1, import_flatten},     {"", "Identity", 1, import_identity},
    {"", "Range", 11, import_range},        {"", "Reshape", 1, import_reshape},
    {"", "Shape", 1, import_shape},         {"", "Size", 1, import_shape},
    {"", "Squeeze", 1, import_squeeze},     {"", "Tile", 1, import_tile},
    {"", "Unsqueeze", 1, import_unsqueeze}, {kMicrosoft, "ExpandDims", 1, import_expand_dims},
};

}  // namespace

std::span<const OpRow> shape_ops() { return kRows; }

}  // namespace lathe::onnx
