// How the weights of a model are to be loaded.
#pragma once

#include <cstdint>

namespace lathe::checkpoint {

struct WeightOptions {
  // Matrices of products are rounded to so many bits while they are read, 4 or 8; 0: they stay as they are stored. Of 4
  // bits the output matrix gets 8: its errors go into the logits and nothing evens them out, while it is a small part
  // of all but the smallest models. Routers of experts stay wide: they are tiny, and decide what is computed.
  int bits = 0;
  int64_t group = 0;       // columns that share a scale; 0: 128 of 4 bits, all of a row of 8
  bool wide_head = false;  // the output matrix stays as it is stored
  // Products with weights of few bits, rounded here or by others, may round activations to 8 bits (MatMulNBits).
  bool round_activations = false;
  // Rounded and widened weights are made of types and sizes alone, to tell what memory a model needs. It cannot run.
  bool sizes_only = false;
  int threads = 1;  // that read and round
};

}  // namespace lathe::checkpoint
