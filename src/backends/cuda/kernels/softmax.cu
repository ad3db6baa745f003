// Softmax and log-softmax along the last axis: a row is read once, kept in registers, and written once. Floor: bytes of
// x and y over the bandwidth. ELEMENT is the element type, WIDE that of the arithmetic; LOG and SAFE are 0 or 1. A row
// of -inf gives NaN, or 0 when SAFE; NaN and +inf give NaN, as the formula does.
#include "row.cuh"
#include "row_args.h"

using T = ELEMENT;

struct SoftmaxSource {
  const T* row;
  __device__ void load(i64 column, WIDE (&values)[VECTOR]) const {
    const Pack<T, VECTOR> pack = load_pack<VECTOR>(row + column);
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) values[i] = to_register(pack[i]);
  }
};

KERNEL(kRowThreads, SoftmaxArgs) {
  __shared__ WIDE scratch[2][kWarp];
  const i64 index = row_of_thread(args.rows);
  const SoftmaxSource source{static_cast<const T*>(args.input) + index * args.width};
  Row<WIDE, SoftmaxSource> row(source, args.width);

  WIDE largest = Max::identity();
  row.each([&](i64, WIDE(&x)[VECTOR]) {
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) largest = Max::combine(largest, x[i]);
  });
  largest = row_reduce<Max>(largest, scratch[0]);
  const bool empty = SAFE && largest == WIDE(Max::identity());

  WIDE sum = 0;
  row.each([&](i64, WIDE(&x)[VECTOR]) {
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) {
      const WIDE power = exp(x[i] - largest);
      sum += power;
      if constexpr (CHUNKS > 0 && !LOG) x[i] = power;
    }
  });
  sum = row_reduce<Sum>(sum, scratch[1]);
  const WIDE factor = LOG ? log(sum) : 1 / sum;

  T* to = static_cast<T*>(args.output) + index * args.width;
  row.each([&](i64 column, WIDE(&x)[VECTOR]) {
    Pack<T, VECTOR> pack;
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) {
      WIDE y = x[i];
      if constexpr (LOG)
        y = y - largest - factor;
      else
        y = (CHUNKS > 0 ? y : exp(y - largest)) * factor;
      pack[i] = from_register<T>(empty ? WIDE(0) : y);
    }
    store_pack<VECTOR>(to + column, pack);
  });
}
