// Decides the tile of integer products per instruction set: the accumulators fill the register file, as in the float
// kernels. dot_int8.h has the arithmetic.
#include "backends/cpu/kernels/gemm_int8_kernels.h"

#include "backends/cpu/kernels/bytes.h"
#include "backends/cpu/kernels/dot_int8.h"
#include "backends/cpu/kernels/vec_math.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

constexpr int kMaxRows = kVecWidth == 16 ? 14 : kVecWidth == 8 ? 3 : 4;
static_assert(kMaxRows <= kInt8MaxRows);

template <int rows>
void tile(const Int8Tile& t) noexcept {
  // Few rows mean few independent sums; more sets of them keep the multipliers busy.
  constexpr int kSets = rows * kSumVecs >= 10 ? 1 : rows * kSumVecs >= 5 ? 2 : 4;
  IVec sums[kSets][rows][kSumVecs];
  LATHE_UNROLL
  for (int s = 0; s < kSets; ++s) {
    LATHE_UNROLL
    for (int r = 0; r < rows; ++r) {
      LATHE_UNROLL
      for (int v = 0; v < kSumVecs; ++v) sums[s][r][v] = splat_int(0);
    }
  }
  const auto step = [&](IVec(&set)[rows][kSumVecs], const uint8_t* const(&in)[rows], int64_t i, const int8_t* w) {
    const Weights weights = load_weights(w);
    LATHE_UNROLL
    for (int r = 0; r < rows; ++r) {
      const IVec a = spread(in[r] + i);
      LATHE_UNROLL
      for (int v = 0; v < kSumVecs; ++v) add_products(set[r][v], a, weights.vecs[v]);
    }
  };
  const char* ahead = t.prefetch;
  for (int s = 0; s < t.segments; ++s) {
    const uint8_t* in[rows];
    LATHE_UNROLL
    for (int r = 0; r < rows; ++r) in[r] = t.rows[s * rows + r];
    const int8_t* w = t.panel + t.weight_offsets[s];
    int64_t q = 0;
    for (; q + kSets <= t.quads; q += kSets, w += kSets * kDotColumns * kQuad) {
      LATHE_UNROLL
      for (int u = 0; u < kSets; ++u) step(sums[u], in, (q + u) * kQuad, w + u * kDotColumns * kQuad);
      __builtin_prefetch(ahead, 0, 2);
      ahead += kSets * t.prefetch_step;
    }
    for (; q < t.quads; ++q, w += kDotColumns * kQuad) step(sums[0], in, q * kQuad, w);
  }
  LATHE_UNROLL
  for (int r = 0; r < rows; ++r) {
    LATHE_UNROLL
    for (int s = 1; s < kSets; ++s) {
      LATHE_UNROLL
      for (int v = 0; v < kSumVecs; ++v) sums[0][r][v] += sums[s][r][v];
    }
    store_row(t.out + r * kDotColumns, sums[0][r]);
  }
}

inline Vec load_residual(const Int8Finish& f, int64_t at, int lanes) {
  switch (f.residual_type) {
    case Int8Residual::none: break;
    case Int8Residual::f32: return load_lanes(static_cast<const float*>(f.residual) + at, lanes);
    case Int8Residual::u8:
      return (load_bytes(static_cast<const uint8_t*>(f.residual) + at, lanes) - splat(f.residual_zero)) *
             splat(f.residual_scale);
    case Int8Residual::s8:
      return (load_bytes(static_cast<const int8_t*>(f.residual) + at, lanes) - splat(f.residual_zero)) *
             splat(f.residual_scale);
  }
  return zero();
}

// What a column brings to all rows.
struct Column {
  IVec add, factors[2];
  Vec scale, bias;

  Column(const Int8Finish& f, int64_t j, int lanes) {
    const Int8Sums& s = f.sums;
    add = s.col_add != nullptr ? load_int(s.col_add + j, lanes) : splat_int(0);
    if (s.col_sum_factor != 0) add += load_int(s.col_sums + j, lanes) * splat_int(s.col_sum_factor);
    for (int i = 0; i < 2; ++i) {
      factors[i] = s.row_factors[i] != nullptr ? load_int(s.col_factors[i] + j, lanes) : splat_int(0);
    }
    scale = f.col_scale != nullptr ? load_lanes(f.col_scale + j, lanes) : splat(1.0f);
    bias = f.bias != nullptr ? load_lanes(f.bias + j, lanes) : zero();
  }
};

inline IVec corrected(const Int8Sums& s, const Column& column, int row, IVec sum) {
  sum += column.add;
  if (s.row_add != nullptr) sum += splat_int(s.row_add[row]);
  if (s.row_factors[0] != nullptr) sum += splat_int(s.row_factors[0][row]) * column.factors[0];
  if (s.row_factors[1] != nullptr) sum += splat_int(s.row_factors[1][row]) * column.factors[1];
  return sum;
}

template <ActivationKind kind>
inline Vec finished(const Int8Finish& f, const Requantizer& middle, Vec x, const Column& column, int row, int64_t j,
                    int lanes) {
  x = x * column.scale;
  if (f.row_scale != nullptr) x = x * splat(f.row_scale[row]);
  x = x + column.bias;
  const bool with_residual = f.residual_type != Int8Residual::none;
  if (with_residual && !f.residual_last) x = x + load_residual(f, row * f.ld_residual + j, lanes);
  x = activate<kind>(x, f.activation);
  if (f.round_trip) x = middle.rounded(x) * splat(f.middle_scale);
  if (!with_residual || !f.residual_last) return x;
  x = x + load_residual(f, row * f.ld_residual + j, lanes);
  if (f.last_activation.kind == ActivationKind::relu) return max(zero(), x);
  return f.last_activation.kind == ActivationKind::clip ? clamp(x, f.last_activation.a, f.last_activation.b) : x;
}

template <ActivationKind kind, Int8Result result>
void finish_as(const Int8Finish& arguments) noexcept {
  const Int8Finish f = arguments;  // a copy of our own cannot change when results are stored
  const Requantizer middle(f.middle), last(f.requantize);
  for_each_vec(0, f.cols, [&](int64_t j, int lanes) {
    const Column column(f, j, lanes);
    for (int r = 0; r < f.rows; ++r) {
      const int64_t at = r * f.ldc + j;
      const IVec sum = corrected(f.sums, column, r, load_int(f.acc + r * f.ld_acc + j, lanes));
      if constexpr (result == Int8Result::i32) {
        store_int(static_cast<int32_t*>(f.c) + at, sum, lanes);
      } else {
        const Vec x = finished<kind>(f, middle, to_float(sum), column, r, j, lanes);
        if constexpr (result == Int8Result::f32) store_lanes(static_cast<float*>(f.c) + at, x, lanes);
        if constexpr (result == Int8Result::bytes)
          store_bytes(static_cast<uint8_t*>(f.c) + at, last.to_bytes(x * last.inverse), lanes);
      }
    }
  });
}

void finish(const Int8Finish& f) noexcept {
  if (f.result == Int8Result::i32) return finish_as<ActivationKind::none, Int8Result::i32>(f);
  with_activation(f.activation.kind, [&]<ActivationKind kind>() {
    if (f.result == Int8Result::f32) {
      finish_as<kind, Int8Result::f32>(f);
    } else {
      finish_as<kind, Int8Result::bytes>(f);
    }
  });
}

int32_t copy_row(const uint8_t* from, int64_t n, uint8_t flip, uint8_t* to) noexcept {
  int32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const auto byte = static_cast<uint8_t>(from[i] ^ flip);
    to[i] = byte;
    sum += byte;
  }
  return sum;
}

template <int rows>
constexpr Int8TileKernel tile_or_null() {
  if constexpr (rows <= kMaxRows) return tile<rows>;
  return nullptr;
}

constexpr Int8Kernels kKernels = {
    kDotColumns,
    kMaxRows,
    {nullptr, tile_or_null<1>(), tile_or_null<2>(), tile_or_null<3>(), tile_or_null<4>(), tile_or_null<5>(),
     tile_or_null<6>(), tile_or_null<7>(), tile_or_null<8>(), tile_or_null<9>(), tile_or_null<10>(), tile_or_null<11>(),
     tile_or_null<12>(), tile_or_null<13>(), tile_or_null<14>()},
    finish,
    copy_row,
};

}  // namespace

const Int8Kernels& int8() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
