// The calibration cache: what calibration found, as JSON that people can read and edit.
//
//   {"lathe_calibration": 1, "model": "90c5..", "calibrator": "entropy", "smoothing": 0.5,
//    "ranges": {"conv_1": [-0.5, 3.25]}, "columns": {"norm_1": [2.5, 0.1, ..]}}
//
// "ranges" alone must be there. Ranges of a norm's result that outliers were moved out of (smooth.h) mean something
// only with the columns by which they were moved.
//
// TensorRT's caches are read as well, for the scripts that have them: after a line "TRT-8501-EntropyCalibration2", one
// line "conv_1: 3cd1f3c4" for each tensor, the eight digits being the bits of its scale, a 127th of its largest
// magnitude.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "precision/apply.h"
#include "precision/calibration.h"
#include "precision/options.h"

namespace lathe::precision {

struct CalibrationCache {
  Ranges ranges = {};
  ColumnMaxima columns = {};
  // What these were found for; absent in files that do not say.
  std::optional<uint64_t> model = {};  // hash of its graph
  std::optional<Calibrator> calibrator = {};
  std::optional<double> smoothing = {};
};

// Throws Error(invalid_argument) for a file of neither kind or a range that is none.
CalibrationCache load_cache(const std::filesystem::path& file);

// Whether the file, if there is one, says that it is TensorRT's.
bool is_tensorrt_cache(const std::filesystem::path& file);

void save_cache(const std::filesystem::path& file, const CalibrationCache& cache);

}  // namespace lathe::precision
