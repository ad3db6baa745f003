#include "backends/cpu/kernels/quantize_kernels.h"

#include "backends/cpu/kernels/bytes.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

FloatRange range(const float* x, int64_t n) noexcept {
  constexpr int kStreams = 4;
  Vec low[kStreams], high[kStreams];
  LATHE_UNROLL
  for (int s = 0; s < kStreams; ++s) low[s] = high[s] = zero();
  int64_t i = 0;
  for (; i + kStreams * kVecWidth <= n; i += kStreams * kVecWidth) {
    LATHE_UNROLL
    for (int s = 0; s < kStreams; ++s) {
      const Vec v = load(x + i + s * kVecWidth);
      low[s] = min(v, low[s]);
      high[s] = max(v, high[s]);
    }
  }
  for_each_vec(i, n, [&](int64_t at, int lanes) {
    const Vec v = load_lanes(x + at, lanes);  // lanes beyond read as 0, which belongs to every range
    low[0] = min(v, low[0]);
    high[0] = max(v, high[0]);
  });
  return {min_lanes(min(min(low[0], low[1]), min(low[2], low[3]))),
          max_lanes(max(max(high[0], high[1]), max(high[2], high[3])))};
}

void quantize(const float* x, int64_t n, const Int8Requantize& q, uint8_t* y) noexcept {
  const Requantizer to(q);
  for_each_vec(
      0, n, [&](int64_t i, int lanes) { store_bytes(y + i, to.to_bytes(load_lanes(x + i, lanes) / to.scale), lanes); });
}

constexpr QuantizeKernels kKernels = {range, quantize};

}  // namespace

const QuantizeKernels& quantize() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
