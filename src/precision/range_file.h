// The calibration cache: ranges of activations as JSON that people can read and edit.
//
//   {"lathe_calibration": 1, "calibrator": "entropy", "ranges": {"conv_1": [-0.5, 3.25]}}
#pragma once

#include <filesystem>

#include "precision/apply.h"
#include "precision/options.h"

namespace lathe::precision {

// Throws Error(invalid_argument) for a file of another kind or a range that is none.
Ranges load_ranges(const std::filesystem::path& file);
void save_ranges(const std::filesystem::path& file, const Ranges& ranges, Calibrator calibrator);

}  // namespace lathe::precision
