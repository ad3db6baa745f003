// What a folder says about weights that others have rounded: 'quantization_config' of config.json, or a file of its own
// beside it. How the weights are then stored is narrow_weights.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace lathe::checkpoint {

enum class QuantMethod : uint8_t { none, gptq, awq, compressed_tensors, fp8, mxfp4 };

struct Quantization {
  struct Scheme {
    int bits = 4;
    int64_t group = 0;  // columns that share a scale; 0: all of a row
  };
  QuantMethod method = QuantMethod::none;
  std::vector<Scheme> schemes;  // of different weights; which one it is, sizes tell
  int zero_offset = 0;          // what is missing from stored zeros: GPTQ's first format keeps zero - 1
  int64_t block_rows = 128, block_columns = 128;  // of fp8 weights whose scales belong to blocks
  bool along_columns = false;                     // AWQ's "gemv": a word holds neighbours in a row
};

// Throws Error(unsupported) for a method, format or number of bits that Lathe does not read, and Error(invalid_model).
Quantization read_quantization(const Checkpoint& checkpoint);

}  // namespace lathe::checkpoint
