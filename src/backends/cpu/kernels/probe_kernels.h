// Loops that do nothing but keep one part of a core busy: what the machine can do at best, beside which the other
// kernels are judged. Single-threaded parts; probe.h has the measurement.
#pragma once

#include <cstdint>

namespace lathe::cpu {

struct ProbeKernels {
  // Runs independent multiply-adds in registers and returns how many floating-point operations they were. `value` must
  // be one the compiler does not know; the result of the arithmetic goes to *sink.
  int64_t (*multiply_adds)(int64_t iterations, float value, float* sink) noexcept;
  // The same for products of bytes, as integer products do them (dot_int8.h); a product and its sum are two operations.
  int64_t (*byte_multiply_adds)(int64_t iterations, uint8_t value, int32_t* sink) noexcept;
  // Reads floats once, as fast as loads go; the sum goes to *sink.
  void (*read)(const float* data, int64_t n, float* sink) noexcept;
};

}  // namespace lathe::cpu
