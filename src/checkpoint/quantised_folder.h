// Writes a checkpoint with its weights rounded, for Lathe and for others: in the layout of compressed-tensors,
// "pack-quantized", which transformers, vLLM and SGLang read. It keeps rows as they are, along columns, says of each
// weight what it is, and its integers are symmetric, so that there are no zeros to store, or to be one off by. The
// output matrix, routers and whatever is no product stay as they are: readers elsewhere expect that. So do matrices
// that are not those of a Linear, whose rounded weights are the only ones that those readers know.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/weight_rows.h"
#include "graph/graph.h"
#include "graph/weight_rounding.h"

namespace lathe::checkpoint {

struct RoundedMatrix {
  std::string name;  // without ".weight"
  int64_t n = 0, k = 0;
  RoundingOptions rounding;
};

// A matrix that a decoder multiplies with: its name, without ".weight", and what it is multiplied with. Of experts that
// is what all of them are given.
struct MatrixUse {
  std::string name;
  Value *x, *weight;
};
std::vector<MatrixUse> matrices_of(const Graph& decoder);

struct QuantisedFolderOptions {
  int bits = 4;
  int64_t group = 0;  // columns that share a scale; 0: 128 of 4 bits, all of a row of 8
};

struct RoundingPlan {
  std::vector<RoundedMatrix> matrices;
  // Tensors of products that stay as they are.
  std::vector<std::string> stacks;      // of matrices, one for each expert
  std::vector<std::string> transposed;  // [in, out], as of a Conv1D
};

// Throws what build_decoder() throws, and Error(unsupported) for a model of which nothing is to be rounded.
RoundingPlan plan_rounding(const Checkpoint& checkpoint, const QuantisedFolderOptions& options);

// Called for each of them, one after the other: to round it, and to tell how far things are; may throw.
using RoundMatrix = std::function<RoundedWeight(const RoundedMatrix&, const WeightRows&)>;

struct QuantisedFolderReport {
  int64_t matrices = 0;
  uint64_t bytes_before = 0, bytes_after = 0;  // of all weights
};

// `target` appears when it is complete. Throws Error(invalid_argument) when it is there already.
QuantisedFolderReport write_quantised_folder(const Checkpoint& checkpoint, const std::filesystem::path& target,
                                             const std::vector<RoundedMatrix>& matrices, const RoundMatrix& round);

}  // namespace lathe::checkpoint
