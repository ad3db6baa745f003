// What an executor knows about its program before any sizes: whose memory a value lives in, and which symbols matter.
#pragma once

#include <string>
#include <vector>

#include "build/program.h"

namespace lathe {

// Sequences, optionals and tensors of strings have no memory of their own: they travel as objects.
inline bool is_object(const Type& type) { return !type.is_tensor() || type.dtype == DType::string; }

// A size that the elements of an input decide, and that the host finds out before the run: nothing is late for it.
struct CountedSize {
  size_t input;  // of the graph
  const PackTokens* op;
  std::string symbol;
};

struct Wiring {
  // Both outlive it.
  Wiring(const Graph& graph, const Program& program);

  const Graph& graph;
  const Program& program;
  std::vector<int> input_of_root, output_of_root;      // by value: graph input / output whose memory it is, or -1
  std::vector<std::vector<std::string>> mentioned;     // by step: symbols in the op's fields
  std::vector<std::vector<std::string>> axis_symbols;  // by value and axis: the symbol that stands there alone, or ""
  std::vector<CountedSize> counted;
  std::vector<std::string> outer_symbols;  // of a region: mentioned, but bound by nothing in it
};

}  // namespace lathe
