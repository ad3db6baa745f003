// The argument of the map kernel, shared between host and device.
#pragma once

constexpr int kMapMaxInputs = 16;
constexpr int kMapMaxRank = 8;
constexpr int kMapMaxDims = 16;

struct MapArgs {
  const void* inputs[kMapMaxInputs];
  void* output;
  unsigned long long packs;                       // threads that have work: output elements / VECTOR
  unsigned long long sizes[kMapMaxRank];          // of the output, axes merged, outermost first
  long long strides[kMapMaxInputs][kMapMaxRank];  // in elements, 0 where an input repeats
  long long dims[kMapMaxDims];                    // values of the program's dimension expressions
};
