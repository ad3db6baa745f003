// Elementary functions on Vec. Coefficients are own minimax fits (Lawson's iteration against 40-digit values).
//
//   exp      <= 2 ulp, overflow to infinity, gradual underflow to 0
//   erf      <= 4e-7 absolute, a few ulp relative near 0
//   tanh     <= 4 ulp          sigmoid  <= 4 ulp
// NaN in, NaN out, everywhere.
#pragma once

#include "backends/cpu/kernels/activation.h"
#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {

// x clamped to [low, high]; a NaN in x comes through, because max and min return their second operand then.
inline Vec clamp(Vec x, float low, float high) { return min(splat(high), max(splat(low), x)); }

// c[0] + c[1] x + ... by Horner's rule.
template <int count>
inline Vec polynomial(Vec x, const float (&c)[count]) {
  Vec sum = splat(c[count - 1]);
  for (int i = count - 2; i >= 0; --i) sum = fma(sum, x, splat(c[i]));
  return sum;
}

// exp(x) = 2^n exp(r) with |r| <= ln(2)/2; ln(2) in two parts keeps r exact to the last bit.
inline Vec exp(Vec x) {
  constexpr float kHigherTerms[] = {0.4999999403953552f, 0.1666651964187622f, 0.041668396443128586f,
                                    0.008368786424398422f, 0.0013814454432576895f};
  x = clamp(x, -104.0f, 89.0f);  // beyond, the result is 0 or infinity anyway
  const Vec n = round_even(x * splat(1.44269504088896f));
  const Vec r = fnma(n, splat(-2.12194440e-4f), fnma(n, splat(0.693359375f), x));
  const Vec p = fma(r * r, polynomial(r, kHigherTerms), r) + splat(1.0f);
  return scale_by_power_of_two(p, n);
}

// x P(x^2) / Q(x^2): no exponential, one division.
inline Vec erf(Vec x) {
  constexpr float kP[] = {1.1283791065216064f,   0.19078382849693298f,    0.05279026925563812f,
                          0.003779603401198983f, 0.00028480752371251583f, 2.0419586235220777e-06f};
  constexpr float kQ[] = {1.0f,
                          0.5024104714393616f,
                          0.11425750702619553f,
                          0.01499742828309536f,
                          0.001165209454484284f,
                          3.800389094976708e-05f};
  const Vec t = clamp(x, -3.93f, 3.93f);  // erf is 1 to the last bit from here on
  const Vec u = t * t;
  return clamp(t * polynomial(u, kP) / polynomial(u, kQ), -1.0f, 1.0f);
}

// x + x^3 P(x^2) near 0, where 1 - 2 / (exp(2|x|) + 1) would cancel.
inline Vec tanh(Vec x) {
  constexpr float kP[] = {-0.3333328068256378f, 0.1333138346672058f, -0.05373399704694748f, 0.02061811275780201f,
                          -0.005679293069988489f};
  const Vec u = x * x;
  const Vec near = fma(x * u, polynomial(u, kP), x);
  const Vec far = splat(1.0f) - splat(2.0f) / (exp(abs(x) * splat(2.0f)) + splat(1.0f));
  return select(less(abs(x), splat(0.625f)), near, copysign(far, x));
}

// exp(-|x|) never overflows, and small results keep their relative accuracy.
inline Vec sigmoid(Vec x) {
  const Vec e = exp(-abs(x));
  return select(less(x, zero()), e, splat(1.0f)) / (splat(1.0f) + e);
}

inline Vec gelu_erf(Vec x) {
  const Vec half = x * splat(0.5f);
  return fma(half, erf(x * splat(0.707106781186548f)), half);
}

// (1 + tanh(t)) / 2 is sigmoid(2t), which needs no cancelling sum; the constants are 2 sqrt(2/pi) {1, 0.044715}.
inline Vec gelu_tanh(Vec x) { return x * sigmoid(x * fma(x * x, splat(0.0713548162726f), splat(1.59576912160573f))); }

template <ActivationKind kind>
inline Vec activate(Vec x, Activation parameters) {
  if constexpr (kind == ActivationKind::none) return x;
  if constexpr (kind == ActivationKind::relu) return max(zero(), x);
  if constexpr (kind == ActivationKind::clip) return clamp(x, parameters.a, parameters.b);
  if constexpr (kind == ActivationKind::leaky_relu) return select(less(x, zero()), x * splat(parameters.a), x);
  if constexpr (kind == ActivationKind::sigmoid) return sigmoid(x);
  if constexpr (kind == ActivationKind::tanh) return tanh(x);
  if constexpr (kind == ActivationKind::gelu_erf) return gelu_erf(x);
  if constexpr (kind == ActivationKind::gelu_tanh) return gelu_tanh(x);
  if constexpr (kind == ActivationKind::silu) return x * sigmoid(x * splat(parameters.a));
  if constexpr (kind == ActivationKind::hard_sigmoid)
    return clamp(fma(x, splat(parameters.a), splat(parameters.b)), 0.0f, 1.0f);
  if constexpr (kind == ActivationKind::hard_swish)
    return x * clamp(fma(x, splat(1.0f / 6.0f), splat(0.5f)), 0.0f, 1.0f);
}

// Calls body.operator()<kind>(): the choice is made once per block, outside the loops over its vectors.
template <class Body>
inline void with_activation(ActivationKind kind, Body body) {
  switch (kind) {
    case ActivationKind::none: return body.template operator()<ActivationKind::none>();
    case ActivationKind::relu: return body.template operator()<ActivationKind::relu>();
    case ActivationKind::clip: return body.template operator()<ActivationKind::clip>();
    case ActivationKind::leaky_relu: return body.template operator()<ActivationKind::leaky_relu>();
    case ActivationKind::sigmoid: return body.template operator()<ActivationKind::sigmoid>();
    case ActivationKind::tanh: return body.template operator()<ActivationKind::tanh>();
    case ActivationKind::gelu_erf: return body.template operator()<ActivationKind::gelu_erf>();
    case ActivationKind::gelu_tanh: return body.template operator()<ActivationKind::gelu_tanh>();
    case ActivationKind::silu: return body.template operator()<ActivationKind::silu>();
    case ActivationKind::hard_sigmoid: return body.template operator()<ActivationKind::hard_sigmoid>();
    case ActivationKind::hard_swish: return body.template operator()<ActivationKind::hard_swish>();
  }
}

}  // namespace lathe::cpu::LATHE_ISA
