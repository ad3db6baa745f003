// Quantisation with parameters from the data, as graph/ops/quantize.h defines it: X is the type of what is quantised
// (computed as float, divisions exact), Q of the result (i8 and e4m3 symmetric, u8 not).
#pragma once

#include "prelude.cuh"
#include "quantize_args.h"

struct QuantizeRange {
  float low = 0, high = 0;
  __device__ void take(float x) {
    low = x < low ? x : low;
    high = x > high ? x : high;
  }
};

template <class T>
struct Quantizer;

template <>
struct Quantizer<u8> {
  float scale = 1, zero;
  explicit __device__ Quantizer(const QuantizeRange& range) {
    if (range.low < range.high) scale = (range.high - range.low) / 255.0f;
    zero = rint(fminf(fmaxf(0.0f - range.low / scale, 0.0f), 255.0f));
  }
  __device__ u8 operator()(float x) const { return u8(fminf(fmaxf(rint(x / scale) + zero, 0.0f), 255.0f)); }
  __device__ u8 zero_point() const { return u8(zero); }
};

inline __device__ float symmetric_scale(const QuantizeRange& range, float largest) {
  const float most = fmaxf(-range.low, range.high);
  return most == 0 ? 1 : most / largest;
}

template <>
struct Quantizer<i8> {
  float scale;
  explicit __device__ Quantizer(const QuantizeRange& range) : scale(symmetric_scale(range, 127.0f)) {}
  __device__ i8 operator()(float x) const { return i8(fminf(fmaxf(rint(x / scale), -128.0f), 127.0f)); }
  __device__ i8 zero_point() const { return 0; }
};

template <>
struct Quantizer<e4m3> {
  float scale;
  explicit __device__ Quantizer(const QuantizeRange& range) : scale(symmetric_scale(range, 448.0f)) {}
  __device__ e4m3 operator()(float x) const { return to_e4m3(x / scale); }
  __device__ e4m3 zero_point() const { return {0}; }
};

// By one thread of those that quantise a row.
inline __device__ void store_parameters(const QuantizeArgs& args, i64 row, const Quantizer<Q>& quantizer) {
  if (args.scales != nullptr) args.scales[row] = quantizer.scale;
  if (args.zeros != nullptr) static_cast<Q*>(args.zeros)[row] = quantizer.zero_point();
}

template <int N>
inline __device__ void store_quantized(const QuantizeArgs& args, i64 at, const float (&x)[N],
                                       const Quantizer<Q>& quantizer) {
  Pack<Q, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) pack[i] = quantizer(x[i]);
  store_pack<N>(static_cast<Q*>(args.output) + at, pack);
}
