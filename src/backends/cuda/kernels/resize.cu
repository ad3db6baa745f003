// Interpolation along AXES axes at once. One thread computes VECTOR neighbours of the innermost group. Coordinates are
// f64, so that rounding to the nearest agrees with the definition; weights and sums are WIDE.
// MODE: 0 nearest, 1 linear, 2 cubic; COORDINATES, NEAREST: the enumerators of graph/ops/resize.h; ANTIALIAS,
// EXCLUDE_OUTSIDE. TYPE is the element, INDEX the type of positions.
// Floor: input and output once over the bandwidth.
#include "map_ops.cuh"
#include "resize_args.h"

inline __device__ double coordinate(const ResizeAxis& axis, int i) {
  const double x = i, in = axis.in, out = axis.out;
#if COORDINATES == 0
  return (x + 0.5) / axis.scale - 0.5;
#elif COORDINATES == 1
  return in / 2 * (1 - out / (axis.scale * in)) + (x + 0.5) / axis.scale - 0.5;
#elif COORDINATES == 2
  return axis.out > 1 ? (x + 0.5) / axis.scale - 0.5 : 0;
#elif COORDINATES == 3
  return axis.out > 1 ? x * (in - 1) / (out - 1) : 0;
#elif COORDINATES == 4
  return x / axis.scale;
#else
  const double extent = (axis.roi_end - axis.roi_start) * (in - 1);
  return axis.out > 1 ? axis.roi_start * (in - 1) + x * extent / (out - 1)
                      : 0.5 * (axis.roi_start + axis.roi_end) * (in - 1);
#endif
}

inline __device__ int nearest(double x) {
#if NEAREST == 0
  return int(ceil(x - 0.5));
#elif NEAREST == 1
  return int(floor(x + 0.5));
#elif NEAREST == 2
  return int(floor(x));
#else
  return int(ceil(x));
#endif
}

inline __device__ int inside(const ResizeAxis& axis, int position) {
  return position < 0 ? 0 : (position >= axis.in ? axis.in - 1 : position);
}

// What one output element is made of along one axis.
struct Taps {
  double x;
  int first, last;
  WIDE shrink = 1, total = 1;

  __device__ WIDE weight(const ResizeArgs& args, const ResizeAxis& axis, int p) const {
    if (EXCLUDE_OUTSIDE && (p < 0 || p >= axis.in)) return 0;
    const WIDE t = fabs(WIDE(p - x)) * shrink, a = WIDE(args.cubic_coefficient);
    if (MODE == 1) return t < 1 ? 1 - t : WIDE(0);
    if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : WIDE(0);
  }

  __device__ void set(const ResizeArgs& args, const ResizeAxis& axis, int i) {
    x = coordinate(axis, i);
#if MODE == 0
    first = last = inside(axis, nearest(x));
#else
    if (ANTIALIAS && axis.scale < 1) shrink = WIDE(axis.scale);
    const double reach = MODE / (ANTIALIAS && axis.scale < 1 ? axis.scale : 1.0);
    first = int(floor(x - reach));
    last = int(floor(x + reach));
    if (ANTIALIAS || EXCLUDE_OUTSIDE) {
      WIDE sum = 0;
      for (int p = first; p <= last; ++p) sum += weight(args, axis, p);
      total = 1 / sum;
    }
#endif
  }
};

#if MODE != 0
template <int AXIS>
inline __device__ void add(const ResizeArgs& args, const Taps (&taps)[AXES], const TYPE* from, WIDE weight,
                           WIDE (&sums)[VECTOR]) {
  if constexpr (AXIS == AXES) {
    const auto pack = load_pack<VECTOR>(from);
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) sums[i] += weight * WIDE(to_register(pack[i]));
  } else {
    const ResizeAxis& axis = args.axes[AXIS];
    for (int p = taps[AXIS].first; p <= taps[AXIS].last; ++p) {
      const WIDE w = taps[AXIS].weight(args, axis, p);
      if (w != 0) add<AXIS + 1>(args, taps, from + inside(axis, p) * axis.stride, weight * w * taps[AXIS].total, sums);
    }
  }
}
#endif

template <class T>
struct FromWide {  // integers: truncated, and saturated where cubic interpolation overshoots
  static __device__ T convert(WIDE x) { return Cast<T>::saturating(x); }
};
template <>
struct FromWide<f16> {
  static __device__ f16 convert(WIDE x) { return from_float<f16>(float(x)); }
};
template <>
struct FromWide<bf16> {
  static __device__ bf16 convert(WIDE x) { return from_float<bf16>(float(x)); }
};

KERNEL(256, ResizeArgs) {
  const u64 thread = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= args.packs) return;
  INDEX rest = INDEX(thread);
  const INDEX inner = INDEX(args.groups[AXES]) / VECTOR;
  const TYPE* from = static_cast<const TYPE*>(args.input) + i64(rest % inner) * VECTOR;
  rest /= inner;
  Taps taps[AXES];
  bool outside = false;
#pragma unroll
  for (int i = AXES - 1; i >= 0; --i) {
    const ResizeAxis& axis = args.axes[i];
    taps[i].set(args, axis, int(rest % INDEX(axis.out)));
    outside |= COORDINATES == 5 && (taps[i].x < 0 || taps[i].x > axis.in - 1);
    rest /= INDEX(axis.out);
    from += i64(rest % INDEX(args.groups[i])) * args.group_strides[i];
    rest /= INDEX(args.groups[i]);
  }
  Pack<TYPE, VECTOR> out;
#if MODE == 0
#pragma unroll
  for (int i = 0; i < AXES; ++i) from += taps[i].first * args.axes[i].stride;
  out = load_pack<VECTOR>(from);
#else
  WIDE sums[VECTOR] = {};
  add<0>(args, taps, from, 1, sums);
#pragma unroll
  for (int i = 0; i < VECTOR; ++i) out[i] = FromWide<TYPE>::convert(sums[i]);
#endif
  if (outside)
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) out[i] = FromWide<TYPE>::convert(WIDE(args.extrapolation_value));
  store_pack<VECTOR>(static_cast<TYPE*>(args.output) + thread * VECTOR, out);
}
