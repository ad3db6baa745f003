// Pooling. One thread computes VECTOR results: of neighbouring channels when CHANNELS_LAST, else one pixel of one
// plane. KIND: 0 max, 1 average, 2 lp. TYPE is the element, WIDE the type of sums, INDEX that of positions. Floor:
// input and output once over the bandwidth; overlapping windows read from the caches.
#include "pool_args.h"
#include "prelude.cuh"

// The taps of one window along one axis that lie on the input.
struct Span {
  int start, first, end;
  __device__ Span(const PoolArgs& args, int axis, int window) {
    const int dilation = args.dilation[axis], in = args.in[axis];
    start = window * args.stride[axis] - args.pad[axis];
    first = start >= 0 ? 0 : (-start + dilation - 1) / dilation;
    end = in > start ? (in - start + dilation - 1) / dilation : 0;
    if (end > args.kernel[axis]) end = args.kernel[axis];
  }
};

#if KIND == 0

template <class T>
struct Lowest {
  static __device__ T value() { return T(-1) < T(0) ? T(T(1) << (sizeof(T) * 8 - 1)) : T(0); }
};
template <>
struct Lowest<float> {
  static __device__ float value() { return __int_as_float(0xff800000); }
};
template <>
struct Lowest<double> {
  static __device__ double value() { return __int_as_float(0xff800000); }
};

struct Result {
  Register<TYPE> best = Lowest<Register<TYPE>>::value();
  i64 where = -1;
  __device__ void take(TYPE element, i64 position) {
    const Register<TYPE> value = to_register(element);
    const bool is_nan = value != value, is_best_nan = best != best;
    if (where >= 0 && !(value > best) && !(is_nan && !is_best_nan)) return;
    best = value;
    where = position;
  }
  __device__ TYPE finish(WIDE) const { return from_register<TYPE>(best); }
};

#else

struct Result {
  WIDE sum = 0;
  __device__ void take(TYPE element, i64) {
    const WIDE value = to_register(element);
#if KIND == 1
    sum += value;
#else
    sum += LP == 2 ? value * value : LP == 1 ? fabs(value) : pow(fabs(value), WIDE(LP));
#endif
  }
  __device__ TYPE finish(WIDE share) const {
#if KIND == 1
    return from_register<TYPE>(sum * share);
#else
    return from_register<TYPE>(LP == 2 ? sqrt(sum) : LP == 1 ? sum : pow(sum, WIDE(1) / LP));
#endif
  }
};

#endif

// Positions of a window in the padded input; what ceil_mode lets stick out does not count.
inline __device__ int padded_taps(const PoolArgs& args, int axis, int start) {
  const int room = args.in[axis] + args.pad_end[axis] - start, dilation = args.dilation[axis];
  const int taps = (room + dilation - 1) / dilation;
  return taps < args.kernel[axis] ? taps : args.kernel[axis];
}

inline __device__ i64 column_major(const PoolArgs& args, i64 position) {
  const i64 plane = i64(args.in[0]) * args.in[1] * args.in[2], rest = position % plane;
  const i64 x = rest % args.in[2], y = rest / args.in[2] % args.in[1], z = rest / args.in[2] / args.in[1];
  return position - rest + (x * args.in[1] + y) * args.in[0] + z;
}

KERNEL(256, PoolArgs) {
  const u64 thread = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= args.packs) return;
  INDEX rest = INDEX(thread);
  INDEX channel = 0;
#if CHANNELS_LAST
  const INDEX channel_packs = INDEX(args.channels) / VECTOR;
  channel = rest % channel_packs * VECTOR;
  rest /= channel_packs;
#endif
  int at[3];
#pragma unroll
  for (int axis = 2; axis >= 0; --axis) {
    at[axis] = int(rest % args.out[axis]);
    rest /= args.out[axis];
  }
  const Span z(args, 0, at[0]), y(args, 1, at[1]), x(args, 2, at[2]);
  // What each element counts in an average.
  const auto clipped = [](int n) { return n > 0 ? n : 0; };
  const int covered = clipped(z.end - z.first) * clipped(y.end - y.first) * clipped(x.end - x.first);
  const int padded = padded_taps(args, 0, z.start) * padded_taps(args, 1, y.start) * padded_taps(args, 2, x.start);
  const int count = args.include_pad ? padded : covered;
  const WIDE share = count > 0 ? 1 / WIDE(count) : WIDE(0);
  Result results[VECTOR];
  for (int kz = z.first; kz < z.end; ++kz)
    for (int ky = y.first; ky < y.end; ++ky) {
      const i64 line =
          ((i64(rest) * args.in[0] + z.start + kz * args.dilation[0]) * args.in[1] + y.start + ky * args.dilation[1]) *
          args.in[2];
      for (int kx = x.first; kx < x.end; ++kx) {
        const i64 position = line + x.start + kx * args.dilation[2];
        const auto pack =
            load_pack<VECTOR>(static_cast<const TYPE*>(args.input) + position * args.channels + i64(channel));
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) results[i].take(pack[i], position);
      }
    }
  Pack<TYPE, VECTOR> out;
#pragma unroll
  for (int i = 0; i < VECTOR; ++i) out[i] = results[i].finish(share);
  store_pack<VECTOR>(static_cast<TYPE*>(args.output) + thread * VECTOR, out);
#if KIND == 0
  if (args.indices != nullptr)
    args.indices[thread] =
        args.column_major && results[0].where >= 0 ? column_major(args, results[0].where) : results[0].where;
#endif
}
