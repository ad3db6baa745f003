// Quantises each row by its own range: a row is read once, kept in registers, and written once. Floor: bytes of x and q
// over the bandwidth.
#include "row.cuh"

#include "quantize.cuh"

struct QuantizeSource {
  const X* row;
  __device__ void load(i64 column, float (&values)[VECTOR]) const {
    const Pack<X, VECTOR> pack = load_pack<VECTOR>(row + column);
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) values[i] = to_register(pack[i]);
  }
};

KERNEL(kRowThreads, QuantizeArgs) {
  __shared__ float scratch[2][kWarp];
  const i64 index = row_of_thread(args.rows);
  const QuantizeSource source{static_cast<const X*>(args.input) + index * args.width};
  Row<float, QuantizeSource> row(source, args.width);
  QuantizeRange range;
  row.each([&](i64, float(&x)[VECTOR]) {
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) range.take(x[i]);
  });
  range.low = -row_reduce<Max>(-range.low, scratch[0]);
  range.high = row_reduce<Max>(range.high, scratch[1]);
  const Quantizer<Q> quantizer(range);
  if (threadIdx.x % GROUP == 0) store_parameters(args, index, quantizer);
  row.each([&](i64 column, float(&x)[VECTOR]) { store_quantized(args, index * args.width + column, x, quantizer); });
}
