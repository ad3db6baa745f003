// From a checkpoint folder to one with rounded weights (checkpoint/quantised_folder.h). With a calibration text, each
// matrix is rounded for what it reads when the model reads that text (error_feedback.h).
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "checkpoint/quantised_folder.h"

namespace lathe::llm {

struct QuantizeOptions {
  checkpoint::QuantisedFolderOptions weights;
  std::string calibration;            // a text; empty: each weight is rounded to what is nearest
  int64_t tokens = 8192;              // of it at most
  int64_t memory = int64_t{4} << 30;  // for statistics; what does not fit is done by reading the text again
  int threads = 0;                    // 0: one per physical core
  // Told what is going on and how far it is, in [0, 1]; may throw to end it.
  std::function<void(const std::string& what, double fraction)> progress;
};

struct QuantizeReport {
  checkpoint::QuantisedFolderReport written;
  std::vector<std::string> stacks, transposed;  // what stayed wide, as in checkpoint::RoundingPlan
};

// Throws Error(invalid_argument) for a text that is too short to tell anything.
QuantizeReport quantize_folder(const std::filesystem::path& folder, const std::filesystem::path& target,
                               const QuantizeOptions& options);

}  // namespace lathe::llm
