// Floats to bytes with a scale that fits them: per tensor, or per row of it.
#pragma once

#include "backends/cpu/kernels/quantize_kernels.h"
#include "base/thread_team.h"

namespace lathe::cpu {

// How a range of floats becomes a scale and a zero point.
//   asymmetric  u8: scale = (high - low) / 255, zero = round(-low / scale)
//   symmetric   s8: scale = max(|low|, |high|) / 127, zero = 0
// Both ranges hold 0; a range of nothing else has scale 1.
struct QuantizeRule {
  bool symmetric = false;
};
Int8Requantize fit(const QuantizeRule& rule, const FloatRange& range);

// x [rows, columns]: each row gets a scale and a zero point of its own; a tensor with one of each is a single row,
// which the threads share. zeros may be null. `ranges` is scratch for team.size() entries.
struct DynamicQuantizeArgs {
  int64_t rows, columns;
  const float* x;
  uint8_t* y;
  float* scales;
  uint8_t* zeros;
  FloatRange* ranges;
};
void dynamic_quantize(ThreadTeam& team, const QuantizeKernels& kernels, const QuantizeRule& rule,
                      const DynamicQuantizeArgs& args);

}  // namespace lathe::cpu
