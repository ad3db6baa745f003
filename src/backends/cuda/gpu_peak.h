// What a GPU can do at best, as measured: the floor that times of steps are held against.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"

namespace lathe::cuda {

struct GpuPeak {
  struct Rate {
    std::string_view name;  // "f16", "tf32"
    double tflops = 0;      // multiply-adds count as two; 0 when it could not be measured
    std::string problem;    // why not
  };
  double gbytes_per_second = 0;  // of copying in its memory, what is read and what is written together
  std::vector<Rate> matrix;      // products of square matrices by cuBLASLt: f32, tf32, f16, bf16, f8, i8

  // Of the type that a step computes with; that of f32 for types which have none of their own.
  double tflops(DType type) const;
};

// Takes about a second. Throws Error(unsupported) without that GPU; without cuBLASLt, the rates say so.
GpuPeak measure_gpu_peak(int ordinal);

}  // namespace lathe::cuda
