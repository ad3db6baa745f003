// Convolution and transposed convolution of floats; the bias goes into the epilogue.
#include "onnx/importers/context.h"
#include "onnx/importers/table.h"
#include "onnx/importers/window.h"

namespace lathe::onnx {
namespace {

// The spatial sizes of the weight [M, C / groups, kernel..], which an attribute may repeat.
std::vector<int64_t> kernel_sizes(Context& ctx) {
  const Shape& w = ctx.shape(1);
  if (w.size() < 3) ctx.invalid("the weight must have rank 3 at least");
  const std::vector<int64_t> given = ctx.attr_ints("kernel_shape");
  std::vector<int64_t> kernel;
  for (size_t i = 2; i < w.size(); ++i) {
    if (w[i].is_constant())
      kernel.push_back(w[i].value());
    else if (given.size() == w.size() - 2)
      kernel.push_back(given[i - 2]);
    else
      ctx.unsupported("the kernel's size is not known before the model runs");
  }
  if (!given.empty() && given != kernel) ctx.invalid("kernel_shape differs from the weight's shape");
  return kernel;
}

std::vector<Value*> with_bias(Context& ctx, MapProgram& epilogue) {
  std::vector<Value*> operands = {ctx.input(0), ctx.input(1)};
  if (ctx.has_input(2)) {
    operands.push_back(channel_vector(ctx, ctx.input(2), ctx.rank(0) - 2));
    epilogue = bias_epilogue(ctx.dtype(0));
  }
  return operands;
}

void import_conv(Context& ctx) {
  Window w = read_window(ctx, kernel_sizes(ctx));
  Conv op;
  op.strides = std::move(w.strides);
  op.dilations = std::move(w.dilations);
  op.pads = std::move(w.pads);
  op.groups = ctx.attr_int("group", 1);
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
  const Window w = read_window(ctx, kernel_sizes(ctx));
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

constexpr OpRow kRows[] = {
    {"", "Conv", 1, import_conv},
    {"", "ConvTranspose", 1, import_conv_transpose},
};

}  // namespace

std::span<const OpRow> conv_ops() { return kRows; }

}  // namespace lathe::onnx
