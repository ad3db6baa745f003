// Quantises a tensor by its range, in two launches whose blocks take parts of it: STORE=0 finds the ranges of the parts,
// STORE=1 joins them and quantises. Floor: twice the bytes of x and once those of q over the bandwidth; x is read again
// from the cache where it fits.
#include "quantize.cuh"

constexpr int kThreads = 256;

template <class Use>
inline __device__ void each_pack(const QuantizeArgs& args, const Use& use) {
  for (i64 at = (i64(blockIdx.x) * kThreads + threadIdx.x) * VECTOR; at < args.width;
       at += i64(gridDim.x) * kThreads * VECTOR) {
    const Pack<X, VECTOR> pack = load_pack<VECTOR>(static_cast<const X*>(args.input) + at);
    float values[VECTOR];
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) values[i] = to_register(pack[i]);
    use(at, values);
  }
}

KERNEL(kThreads, QuantizeArgs) {
  __shared__ float scratch[2][kWarp];
  QuantizeRange range;
#if STORE
  for (int part = threadIdx.x; part < args.parts; part += kThreads) {
    range.take(args.ranges[2 * part]);
    range.take(args.ranges[2 * part + 1]);
  }
#else
  each_pack(args, [&](i64, const float(&x)[VECTOR]) {
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) range.take(x[i]);
  });
#endif
  range.low = -block_reduce<Max>(-range.low, scratch[0]);
  range.high = block_reduce<Max>(range.high, scratch[1]);
#if STORE
  const Quantizer<Q> quantizer(range);
  if (blockIdx.x == 0 && threadIdx.x == 0) store_parameters(args, 0, quantizer);
  each_pack(args, [&](i64 at, const float(&x)[VECTOR]) { store_quantized(args, at, x, quantizer); });
#else
  if (threadIdx.x == 0) {
    args.ranges[2 * blockIdx.x] = range.low;
    args.ranges[2 * blockIdx.x + 1] = range.high;
  }
#endif
}
