// Convolution and transposed convolution of floats; the bias goes into the epilogue. A causal convolution with state
// and Col2Im are such convolutions of rearranged operands.
#include "onnx/importers/context.h"
#include "onnx/importers/table.h"
#include "onnx/importers/window.h"

namespace lathe::onnx {
namespace {

std::vector<Value*> with_bias(Context& ctx, MapProgram& epilogue) {
  std::vector<Value*> operands = {ctx.input(0), ctx.input(1)};
  if (ctx.has_input(2)) {
    operands.push_back(channel_vector(ctx, ctx.input(2), ctx.rank(0) - 2));
    epilogue = bias_epilogue(ctx.dtype(0));
  }
  return operands;
}

void import_conv(Context& ctx) {
  Conv op = read_conv(ctx, ctx.shape(1));
  std::vector<Value*> operands = with_bias(ctx, op.epilogue);
  ctx.set_output(0, ctx.emit(std::move(op), std::move(operands)));
}

// Padding that gives the wanted output: total = stride * (in - 1) + output_padding + extent - out; the odd one goes to
// the begin unless SAME_UPPER.
void pad_to_output(Context& ctx, const Window& w, const Shape& wanted, ConvTranspose& op) {
  const size_t axes = w.kernel.size();
  const bool upper = ctx.attr_string("auto_pad", "NOTSET") == "SAME_UPPER";
  for (size_t i = 0; i < axes; ++i) {
    const Dim extent = (w.kernel[i] - 1) * w.dilations[i] + 1;
    Dim total = Dim(w.strides[i]) * (ctx.shape(0)[i + 2] - Dim(1)) + Dim(op.output_padding[i]) + extent - wanted[i];
    if (total.is_constant() && total.value() < 0) op.output_padding[i] -= total.value();  // beyond the last window
    total = max(total, Dim(0));
    const Dim half = floor_div(total, Dim(2));
    op.pads[i] = upper ? half : total - half;
    op.pads[i + axes] = total - op.pads[i];
  }
}

void import_conv_transpose(Context& ctx) {
  const Window w = read_window(ctx, kernel_sizes(ctx, ctx.shape(1)));
  const size_t axes = w.kernel.size();
  ConvTranspose op;
  op.strides = w.strides;
  op.dilations = w.dilations;
  op.pads = w.pads;
  op.groups = ctx.attr_int("group", 1);
  op.output_padding = ctx.attr_ints("output_padding");
  if (op.output_padding.empty()) op.output_padding.assign(axes, 0);
  if (op.output_padding.size() != axes) ctx.invalid("output_padding does not fit the number of spatial axes");
  const std::vector<int64_t> output_shape = ctx.attr_ints("output_shape");
  const bool same = ctx.attr_string("auto_pad", "NOTSET").starts_with("SAME");
  if (!output_shape.empty()) {
    if (output_shape.size() < axes) ctx.invalid("output_shape does not fit the number of spatial axes");
    pad_to_output(ctx, w, Shape(output_shape.end() - static_cast<std::ptrdiff_t>(axes), output_shape.end()), op);
  } else if (same) {
    Shape wanted;
    for (size_t i = 0; i < axes; ++i) wanted.push_back(ctx.shape(0)[i + 2] * Dim(w.strides[i]));
    pad_to_output(ctx, w, wanted, op);
  }
  std::vector<Value*> operands = with_bias(ctx, op.epilogue);
  ctx.set_output(0, ctx.emit(std::move(op), std::move(operands)));
}

// A convolution of each channel with its own kernel over what came before and now; the end of that is the next state.
void import_causal_conv(Context& ctx) {
  if (ctx.rank(0) != 3 || ctx.rank(1) != 3) ctx.invalid("operand and weight must have rank 3");
  const Shape& shape = ctx.shape(0);
  const Dim &channels = ctx.shape(0)[1], &width = ctx.shape(1)[2];
  if (!channels.is_constant() || !width.is_constant())
    ctx.unsupported("the numbers of channels and of weights are not known before the model runs");
  const Dim before = width - Dim(1);
  const DType dtype = ctx.dtype(0);
  Value* past = ctx.has_input(3) ? ctx.input(3) : ctx.expand(ctx.scalar(0, dtype), {shape[0], channels, before});
  Value* all = ctx.concat({past, ctx.input(0)}, 2);
  Conv op;
  op.strides = {1};
  op.dilations = {1};
  op.pads = {Dim(0), Dim(0)};
  op.groups = channels.value();
  std::vector<Value*> operands = {all, ctx.input(1)};
  if (ctx.has_input(2)) {
    operands.push_back(channel_vector(ctx, ctx.input(2), 1));
    op.epilogue = bias_epilogue(dtype);
  }
  Value* y = ctx.emit(std::move(op), std::move(operands));
  if (ctx.attr_string("activation", "none") != "none") y = ctx.unary(MapOp::silu, y);
  ctx.set_output(0, y);
  ctx.set_output(1, ctx.slice(all, 2, shape[2], before));
}

// A transposed convolution puts each column's elements to their places, and adds up where columns overlap; its weight
// is 1 where input channel and place in the block agree.
void import_col2im(Context& ctx) {
  const Shape image = ctx.sizes(1);
  const std::vector<int64_t> block = ctx.integers(2);
  const size_t axes = block.size();
  const int64_t elements = element_count(block);
  const auto list = [&](std::string_view name, size_t count, int64_t standard) {
    std::vector<int64_t> values = ctx.attr_ints(name);
    if (values.empty()) values.assign(count, standard);
    if (values.size() != count) ctx.invalid(fmt::format("attribute '{}' does not fit the block", name));
    return values;
  };
  const Dim channels = floor_div(ctx.shape(0).at(1), Dim(elements));
  if (image.size() != axes || !channels.is_constant())
    ctx.unsupported("the image does not fit the block, or its number of channels is not known");
  ConvTranspose op;
  op.strides = list("strides", axes, 1);
  op.dilations = list("dilations", axes, 1);
  const std::vector<int64_t> pads = list("pads", 2 * axes, 0);
  op.pads.assign(pads.begin(), pads.end());
  op.groups = channels.value();
  Shape columns = {ctx.shape(0)[0], ctx.shape(0)[1]}, weight = {ctx.shape(0)[1], Dim(1)};
  for (size_t i = 0; i < axes; ++i) {
    const Dim spare = image[i] + op.pads[i] + op.pads[i + axes] - Dim(op.dilations[i] * (block[i] - 1) + 1);
    const Dim steps = floor_div(spare, Dim(op.strides[i])), left = spare - steps * Dim(op.strides[i]);
    if (!left.is_constant()) ctx.unsupported("strides need an image whose size is known before the model runs");
    columns.push_back(steps + Dim(1));
    weight.emplace_back(block[i]);
    op.output_padding.push_back(left.value());
  }
  Value* ones = ctx.map(
      {},
      [&](MapProgram& p, const auto&) {
        const int place = p.binary(MapOp::floor_mod, p.iota(-2), p.constant_int(elements, DType::i64));
        return p.cast(p.binary(MapOp::eq, place, p.iota(-1)), ctx.dtype(0));
      },
      Shape{ctx.shape(0)[1], Dim(elements)});
  ctx.set_output(0, ctx.emit(std::move(op), {ctx.reshape(ctx.input(0), columns), ctx.reshape(ones, weight)}));
}

constexpr OpRow kRows[] = {
    {"", "CausalConvWithState", 27, import_causal_conv},
    {"", "Col2Im", 18, import_col2im},
    {"", "Conv", 1, import_conv},
    {"", "ConvTranspose", 1, import_conv_transpose},
};

}  // namespace

std::span<const OpRow> conv_ops() { return kRows; }

}  // namespace lathe::onnx
