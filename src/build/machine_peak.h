// What this machine can do at best: the floor that measured times are held against.
#pragma once

#include <cstddef>
#include <vector>

#include "base/cpu_features.h"

namespace lathe {

struct MachinePeak {
  // Reading bandwidth while the data that is read again and again fits into `bytes`; the last level is memory.
  struct Level {
    size_t bytes = 0;
    double gbytes_per_second = 0;
  };
  double gflops = 0;          // f32 multiply-adds, all threads
  std::vector<Level> levels;  // smallest first, never empty
  double byte_gops = 0;       // products of bytes and their sums, in vectors, all threads

  // The shortest time in seconds in which `flops` and the traffic `bytes` can be done.
  double floor_seconds(double flops, double bytes) const;
};

// Takes about a quarter of a second. The machine must have the instruction set.
MachinePeak measure_machine_peak(Isa isa, int threads);

}  // namespace lathe
