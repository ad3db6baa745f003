// The calibration cache: ranges of activations as JSON that people can read and edit.
//
//   {"lathe_calibration": 1, "calibrator": "entropy", "ranges": {"conv_1": [-0.5, 3.25]}}
//
// TensorRT's caches are read as well, for the scripts that have them: after a line "TRT-8501-EntropyCalibration2", one
// line "conv_1: 3cd1f3c4" for each tensor, the eight digits being the bits of its scale, a 127th of its largest
// magnitude.
#pragma once

#include <filesystem>

#include "precision/apply.h"
#include "precision/options.h"

namespace lathe::precision {

// Throws Error(invalid_argument) for a file of neither kind or a range that is none.
Ranges load_ranges(const std::filesystem::path& file);

// Whether the file, if there is one, says that it is TensorRT's.
bool is_tensorrt_cache(const std::filesystem::path& file);

void save_ranges(const std::filesystem::path& file, const Ranges& ranges, Calibrator calibrator);

}  // namespace lathe::precision
