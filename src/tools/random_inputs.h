// Made-up input data that a model accepts: the same seed gives the same data on every machine. Token ids lie inside the
// table that they pick from, masks are all ones, token types zero, positions count up, lengths cover all, floats are
// normal(0, 1), strings are digits.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "graph/graph.h"
#include "graph/tensor.h"
#include "tools/input_sizes.h"

namespace lathe::tools {

using Tensors = std::map<std::string, Tensor>;  // by name of input or output

// How much of each row of a mask counts: all of it; a random part from its start on, which is half of it on average; or
// a few elements, twice as many in each row as in the one before, from 1 on.
enum class Lengths { full, half, few };

// Data of an input, in given sizes. The name takes part in the seed, so that two inputs differ; all masks have the same
// lengths.
Tensor random_input(const Value& input, const std::vector<int64_t>& dims, const Sizes& all, uint64_t seed,
                    Lengths lengths = Lengths::full);

// A small generator whose numbers are the same everywhere, unlike those of the standard library's distributions.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next();
  double uniform();              // [0, 1)
  int64_t below(int64_t bound);  // [0, bound); bound is positive
  double normal();

 private:
  uint64_t state_;
};

}  // namespace lathe::tools
