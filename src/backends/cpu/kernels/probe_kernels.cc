#include "backends/cpu/kernels/probe_kernels.h"

#include "backends/cpu/kernels/dot_int8.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

// Enough chains to cover latency times throughput, few enough for 16 registers.
constexpr int kChains = 12;

int64_t multiply_adds(int64_t iterations, float value, float* sink) noexcept {
  Vec chains[kChains];
  LATHE_UNROLL
  for (int c = 0; c < kChains; ++c) chains[c] = splat(value + static_cast<float>(c));
  const Vec factor = splat(value);
  for (int64_t i = 0; i < iterations; ++i) {
    LATHE_UNROLL
    for (int c = 0; c < kChains; ++c) chains[c] = fma(chains[c], factor, factor);
  }
  Vec sum = zero();
  for (int c = 0; c < kChains; ++c) sum = sum + chains[c];
  *sink = sum_lanes(sum);
  return iterations * kChains * kVecWidth * 2;
}

int64_t byte_multiply_adds(int64_t iterations, uint8_t value, int32_t* sink) noexcept {
  const uint8_t quad[kQuad] = {value, value, value, value};
  const IVec a = spread(quad), w = splat_int(load_quad(quad));
  IVec chains[kChains];
  LATHE_UNROLL
  for (int c = 0; c < kChains; ++c) chains[c] = splat_int(c);
  for (int64_t i = 0; i < iterations; ++i) {
    LATHE_UNROLL
    for (int c = 0; c < kChains; ++c) add_products(chains[c], a, w);
  }
  IVec sum = chains[0];
  LATHE_UNROLL
  for (int c = 1; c < kChains; ++c) sum += chains[c];
  *sink = sum[0];
  return iterations * kChains * kDotColumns / kSumVecs * kQuad * 2;
}

void read(const float* data, int64_t n, float* sink) noexcept {
  constexpr int kStreams = 8;
  Vec sums[kStreams];
  LATHE_UNROLL
  for (int s = 0; s < kStreams; ++s) sums[s] = zero();
  int64_t i = 0;
  for (; i + kStreams * kVecWidth <= n; i += kStreams * kVecWidth) {
    LATHE_UNROLL
    for (int s = 0; s < kStreams; ++s) sums[s] = sums[s] + load(data + i + s * kVecWidth);
  }
  Vec sum = zero();
  for (int s = 0; s < kStreams; ++s) sum = sum + sums[s];
  float total = sum_lanes(sum);
  for (; i < n; ++i) total += data[i];
  *sink = total;
}

constexpr ProbeKernels kKernels = {multiply_adds, byte_multiply_adds, read};

}  // namespace

const ProbeKernels& probe() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
