// Applies the epilogue program to results in registers and stores them.
#pragma once

#include "epilogue_args.h"
#include "map_ops.cuh"
#include "program.cuh"

struct EpilogueReader {
  const EpilogueArgs& args;
  i64 outer, row, column;

  template <class T, int N>
  __device__ Pack<T, N> load(int input) const {
    const int i = input - 1;
    const T* from = static_cast<const T*>(args.extras[i]) + outer * args.outer[i] + row * args.row[i];
    if (args.column[i] == 1) return load_pack<N>(from + column);
    Pack<T, N> pack;
    const T value = *from;
#pragma unroll
    for (int n = 0; n < N; ++n) pack[n] = value;
    return pack;
  }
};

struct NoPosition {  // programs that ask for positions are not fused
  __device__ i64 iota(int, int) const { return 0; }
};

// The results for N elements whose sums and extras are in registers.
template <int N>
inline __device__ Pack<Program::Output, N> results_of(const Program::Registers (&registers)[N]) {
  Pack<Program::Output, N> results;
#pragma unroll
  for (int n = 0; n < N; ++n)
    results[n] = from_register<Program::Output>(Program::evaluate(registers[n], NoPosition{}, n, nullptr));
  return results;
}

// Stores N results that lie side by side in columns. With N > 1 `offset`, `column` and the number of columns are
// multiples of N.
template <int N, class Accumulator>
inline __device__ void finish(const EpilogueArgs& args, void* output, i64 outer, i64 row, i64 column, i64 offset,
                              const Accumulator (&sums)[N]) {
  Program::Registers registers[N];
#pragma unroll
  for (int n = 0; n < N; ++n) registers[n].x0 = sums[n];
  Program::read<1, N>(EpilogueReader{args, outer, row, column}, registers);
  store_pack<N>(static_cast<Program::Output*>(output) + offset, results_of(registers));
}
