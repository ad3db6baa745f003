// Decides the tile sizes of convolution per ISA, by measurement: accumulators fill the register file (14x2 vectors of
// 32 registers, 6x2 of 16), one register broadcasts the input value, the rest hold a row of each weight panel.
#include "backends/cpu/kernels/conv_kernels.h"

#include <utility>

#include "backends/cpu/kernels/vec.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

constexpr int kMaxRows = kVecWidth == 16 ? 14 : 6;
constexpr int kMaxPanels = 2;
constexpr int kCacheLine = 16;  // floats

template <int kRows, int kPanels>
inline void accumulate(const ConvTile& t, Vec (&acc)[kRows][kPanels]) noexcept {
  const char* ahead = t.prefetch;
  for (int s = 0; s < t.segments; ++s) {
    const float* in[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) in[r] = t.inputs[s * kRows + r] + t.input_offset;
    const float* w = t.weights + t.weight_offsets[s];
    for (int64_t k = 0; k < t.run; ++k, w += kVecWidth, ahead += t.prefetch_step) {
      __builtin_prefetch(ahead, 0, 2);
      Vec b[kPanels];
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) b[p] = load(w + p * t.panel_stride);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Vec a = splat(in[r][k]);
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) acc[r][p] = fma(a, b[p], acc[r][p]);
      }
    }
  }
}

// The output and the residual come from far away and are needed only when the sum is done.
template <int kRows>
inline void prefetch_output(const ConvTile& t) noexcept {
  for (int r = 0; r < kRows; ++r) {
    const float* out = t.out + r * t.out_stride;
    for (int c = 0; c < t.channels; c += kCacheLine) {
      __builtin_prefetch(out + c, 1, 3);
      if (t.residual != nullptr) __builtin_prefetch(t.residual + r * t.residual_stride + c, 0, 3);
    }
  }
}

// Adds the residual, clamps and stores one panel of one pixel; `n` < kVecWidth marks the ragged last panel.
template <bool kRagged>
inline void finish(const ConvTile& t, int row, int first_channel, int n, Vec v) noexcept {
  if (t.residual != nullptr) {
    const float* residual = t.residual + row * t.residual_stride + first_channel;
    v = v + (kRagged ? load_n(residual, n) : load(residual));
  }
  v = min(splat(t.upper), max(splat(t.lower), v));
  float* out = t.out + row * t.out_stride + first_channel;
  if (kRagged) {
    store_n(out, v, n);
  } else {
    store(out, v);
  }
}

template <int kRows, int kPanels>
void tile(const ConvTile& t) noexcept {
  const int last = (kPanels - 1) * kVecWidth;  // first channel of the last panel
  const int last_channels = t.channels - last;
  const bool ragged = last_channels < kVecWidth;
  prefetch_output<kRows>(t);
  Vec acc[kRows][kPanels];
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p) {
    const bool part = p == kPanels - 1 && ragged;
    const float* bias = t.bias == nullptr ? nullptr : t.bias + p * kVecWidth;
    const Vec start = bias == nullptr ? zero() : part ? load_n(bias, last_channels) : load(bias);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) acc[r][p] = start;
  }
  accumulate<kRows, kPanels>(t, acc);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int p = 0; p < kPanels - 1; ++p) finish<false>(t, r, p * kVecWidth, kVecWidth, acc[r][p]);
    if (ragged) {
      finish<true>(t, r, last, last_channels, acc[r][kPanels - 1]);
    } else {
      finish<false>(t, r, last, kVecWidth, acc[r][kPanels - 1]);
    }
  }
}

using TileFunction = void (*)(const ConvTile&) noexcept;

struct TileTable {
  TileFunction by_rows[kMaxPanels][kMaxRows];
};

template <int... kRow>
constexpr TileTable make_table(std::integer_sequence<int, kRow...>) {
  return {{{tile<kRow + 1, 1>...}, {tile<kRow + 1, 2>...}}};
}

constexpr TileTable kTiles = make_table(std::make_integer_sequence<int, kMaxRows>{});

void run_tile(const ConvTile& t) noexcept { kTiles.by_rows[t.channels > kVecWidth ? 1 : 0][t.rows - 1](t); }

}  // namespace

const ConvKernels& conv() {
  static constexpr ConvKernels kKernels = {kVecWidth, kMaxRows, kMaxPanels, run_tile};
  return kKernels;
}

}  // namespace lathe::cpu::LATHE_ISA
