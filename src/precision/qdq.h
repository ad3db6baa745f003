// Quantises an ONNX file into Q/DQ form (onnx/qdq_writer.h), with calibrated activations.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "precision/calibration.h"
#include "precision/measure.h"

namespace lathe::precision {

struct QdqOptions {
  Calibrator calibrator = kDefaultCalibrator;
  std::vector<std::string> keep;  // patterns of node names that stay as they are
};

struct QdqReport {
  std::vector<std::string> layers;       // that were quantised
  std::vector<OutputAgreement> outputs;  // of the result to the model it was made from, on the batches
};

// Throws Error(invalid_argument) when no layer is left to quantise, or a pattern matches none.
QdqReport quantize_model(const std::filesystem::path& model, const std::filesystem::path& target,
                         const Batches& batches, const QdqOptions& options);

}  // namespace lathe::precision
