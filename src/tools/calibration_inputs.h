// Where the inputs come from on which accuracy is measured: recordings (.npz, or a folder of them), lines of text, or
// made-up data.
#pragma once

#include <filesystem>
#include <string>

#include "graph/graph.h"
#include "precision/batches.h"
#include "tools/input_sizes.h"

namespace lathe::tools {

struct CalibrationArgs {
  std::string source;     // FILE.npz, a folder of .npz files, or a text file; empty: made-up inputs
  std::string tokenizer;  // folder with the tokenizer for a text file; empty: the model's folder
};

// Sizes of made-up inputs are `sizes` where given; there are twice as many where ranges are found on some and judged on
// others. Throws Error(invalid_argument) when a file lacks an input.
precision::Batches calibration_batches(const Graph& graph, const CalibrationArgs& args, const Sizes& sizes,
                                       const std::filesystem::path& model, bool finds_ranges);

// Made up, of these sizes.
precision::Batch made_up_batch(const Graph& graph, const Sizes& sizes);

}  // namespace lathe::tools
