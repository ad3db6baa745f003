// Inference for pool.
#include "graph/ops/window.h"

namespace lathe {
namespace {

// Windows may stick out at the end, but none may start beyond the input and its left padding.
Dim count_with_ceil(const Dim& size, const Dim& pad_begin, const Dim& pad_end, const Dim& extent, int64_t stride) {
  const Dim fitting = ceil_div(size + pad_begin + pad_end - extent, stride) + 1;
  return min(fitting, ceil_div(size + pad_begin, stride));
}

}  // namespace

Types infer_op(const Pool& op, InferContext& c) {
  c.expect_inputs(1, 1);
  c.expect_outputs(op.kind == PoolKind::max ? 2 : 1);
  const Type& x = c.tensor(0);
  Type y = Type::unranked(x.dtype);
  if (x.ranked) {
    if (x.rank() < 3) c.fail("the input needs a batch, a channel and spatial axes");
    const size_t spatial = x.shape.size() - 2, first = op.channels_last ? 1 : 2;
    if (op.kernel.empty()) c.fail("the kernel has no size");
    check_windows(c, spatial, op.kernel, op.strides, op.dilations, op.pads);
    y = x;
    for (size_t i = 0; i < spatial; ++i) {
      const Dim &size = x.shape[first + i], &begin = op.pads[i], &end = op.pads[spatial + i];
      const Dim extent = Dim(op.kernel[i] - 1) * op.dilations[i] + 1;
      Dim count = window_count(c, size + begin + end, extent, op.strides[i]);
      if (op.ceil_mode) count = count_with_ceil(size, begin, end, extent, op.strides[i]);
      y.shape[first + i] = count;
    }
  }
  Types types{y};
  if (c.num_outputs() == 2) {
    types.push_back(y);
    types.back().dtype = DType::i64;
  }
  return types;
}

}  // namespace lathe
