// Values of dimension expressions, computed on the host and passed with the launch.
#include "movement_args.h"
#include "prelude.cuh"

KERNEL(kDimsMaxValues, DimsArgs) {
  if (int(threadIdx.x) < args.count) static_cast<i64*>(args.y)[threadIdx.x] = args.values[threadIdx.x];
}
