#include "backends/cpu/kernels/vec_math_kernels.h"

#include "backends/cpu/kernels/vec_math.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

template <class F>
inline void map_array(const float* x, float* y, int64_t n, F f) {
  for_each_vec(0, n, [&](int64_t i, int lanes) { store_lanes(y + i, f(load_lanes(x + i, lanes)), lanes); });
}

void exp_array(const float* x, float* y, int64_t n) noexcept {
  map_array(x, y, n, [](Vec v) { return exp(v); });
}

void erf_array(const float* x, float* y, int64_t n) noexcept {
  map_array(x, y, n, [](Vec v) { return erf(v); });
}

void activate_array(Activation activation, const float* x, float* y, int64_t n) noexcept {
  with_activation(activation.kind, [&]<ActivationKind kind>() {
    map_array(x, y, n, [&](Vec v) { return activate<kind>(v, activation); });
  });
}

constexpr VecMathKernels kKernels = {exp_array, erf_array, activate_array};

}  // namespace

const VecMathKernels& vec_math() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
