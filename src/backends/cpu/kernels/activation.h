// The activations that kernels can apply to a result while it is still in cache, as data. Shared by GEMM and
// convolution.
#pragma once

#include <cstdint>

namespace lathe::cpu {

enum class ActivationKind : uint8_t {
  none,
  relu,        // max(x, 0)
  clip,        // min(max(x, a), b); ReLU6 is clip with a = 0, b = 6
  leaky_relu,  // x >= 0 ? x : a * x
  sigmoid,     // 1 / (1 + exp(-x))
  tanh,
  gelu_erf,      // x/2 * (1 + erf(x / sqrt(2)))
  gelu_tanh,     // x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))
  silu,          // x * sigmoid(a * x); a = 1 is SiLU, a = 1.702 the "quick" GELU
  hard_sigmoid,  // min(max(a * x + b, 0), 1)
  hard_swish,    // x * min(max(x / 6 + 1/2, 0), 1)
};

// NaN stays NaN under every kind.
struct Activation {
  ActivationKind kind = ActivationKind::none;
  float a = 1.0f;
  float b = 0.0f;
};

}  // namespace lathe::cpu
