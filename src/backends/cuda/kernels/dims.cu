// Values of dimension expressions, computed on the host and passed with the launch.
#include "movement_args.h"
#include "prelude.cuh"

extern "C" __global__ void __launch_bounds__(kDimsMaxValues) ENTRY(const __grid_constant__ DimsArgs args) {
  if (int(threadIdx.x) < args.count) static_cast<i64*>(args.y)[threadIdx.x] = args.values[threadIdx.x];
}
