// States on their way in (LOAD=1) and out (LOAD=0) of a recurrent layer.
#include "rnn.cuh"

KERNEL(256, RnnStateArgs) {
  const i64 i = i64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= args.n) return;
#if LOAD
  static_cast<ACC*>(args.to)[i] = args.from == nullptr ? ACC(0) : to_acc(static_cast<const TYPE*>(args.from)[i]);
#else
  static_cast<TYPE*>(args.to)[i] = from_acc(static_cast<const ACC*>(args.from)[i]);
#endif
}
