#include <limits>

#include "backends/cpu/kernels/conv_internal.h"
#include "backends/cpu/kernels/gemm_kernels.h"

namespace lathe::cpu {

KernelEpilogue kernel_epilogue(const ConvEpilogue& epilogue, int64_t out_channels) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Activation& activation = epilogue.activation;
  const bool linear = activation.kind == ActivationKind::none;
  const bool clamps = activation.kind == ActivationKind::relu || activation.kind == ActivationKind::clip;
  const bool residual_after = epilogue.residual != nullptr && epilogue.residual_after_activation && !linear;
  KernelEpilogue result = {
      epilogue.bias, residual_after ? nullptr : epilogue.residual, epilogue.residual_stride, -kInfinity,
      kInfinity,     residual_after || !(linear || clamps)};
  if (result.residual_stride == 0) result.residual_stride = out_channels;
  if (clamps) result.lower = activation.kind == ActivationKind::relu ? 0.0f : activation.a;
  if (activation.kind == ActivationKind::clip) result.upper = activation.b;
  return result;
}

void finish_block(const ConvEpilogue& epilogue, const KernelEpilogue& in_kernel, const ConvBlock& block,
                  const KernelTable& kernels) {
  if (in_kernel.second_pass) {
    GemmFinish finish = {};
    finish.acc = finish.c = block.data;
    finish.ld_acc = finish.ldc = block.row_stride;
    finish.rows = static_cast<int>(block.rows);
    finish.cols = static_cast<int>(block.columns);
    finish.alpha = 1.0f;
    finish.activation = epilogue.activation;
    if (epilogue.residual != nullptr && in_kernel.residual == nullptr) {
      finish.residual = epilogue.residual + block.first_pixel * in_kernel.residual_stride + block.first_channel;
      finish.ld_residual = block.pixel_step * in_kernel.residual_stride;
      finish.residual_last = true;
    }
    kernels.gemm.finish(finish);
  }
  if (epilogue.post != nullptr) epilogue.post(epilogue.post_context, block);
}

}  // namespace lathe::cpu
