// What the kernels of recurrent layers share.
// TYPE: of operands and results; ACC: of sums and states.
#pragma once

#include "prelude.cuh"
#include "rnn_args.h"

inline __device__ ACC to_acc(TYPE x) { return ACC(to_register(x)); }
inline __device__ TYPE from_acc(ACC x) { return from_register<TYPE>(x); }
