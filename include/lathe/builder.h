// Plans from C++: what `lathe build` does.
//
//   struct Texts : lathe::Calibrator { ... };   // yields batches of inputs
//   Texts texts;
//   lathe::BuildOptions options;
//   options.int8 = true;
//   options.calibrator = &texts;
//   const lathe::BuildResult built = lathe::build_plan("bert.onnx", "bert.plan", options);
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lathe/lathe.h"

namespace lathe {

// Gives the inputs on which accuracy is measured and ranges are calibrated.
class Calibrator {
 public:
  virtual ~Calibrator() = default;
  // All inputs of the next batch, in host memory, valid until the next call; empty when there are no more.
  virtual std::span<const Input> next() = 0;
};

struct BuildOptions : EngineOptions {
  // Sizes that kernels are timed for and memory is set aside for: by input, smallest, usual and largest. Without any,
  // kernels are not timed. Any sizes can be run in both cases.
  struct Sizes {
    std::vector<int64_t> smallest, usual, largest;
  };
  std::map<std::string, Sizes> profile = {};
  int threads = 0;  // that kernels are timed with; 0: one per physical core

  // Types that layers may have besides f32, as far as the bound holds (docs/precision.md). They need a calibrator.
  bool fp16 = false, bf16 = false, fp8 = false, int8 = false;
  bool best = false;  // instead of these: the fastest of all that the device has, or f32
  // Layers by name, where '*' stands for anything, and what they compute in: f32, f16, bf16, f8e4m3 or i8.
  std::vector<std::pair<std::string, DType>> layer_types = {};
  double accuracy = 0.999;             // least cosine of every output to f32
  double max_error = 0;                // of any element of the outputs; 0: any
  double top1 = 0;                     // least share of rows of scores whose first choice is that of f32
  Calibrator* calibrator = nullptr;    // not owned
  std::string calibration = {};        // how ranges are chosen: "mse" (default), "min-max", "percentile", "entropy"
  std::string calibration_cache = {};  // JSON file of what calibration found, used and added to
};

struct BuildResult {
  bool met = true;    // false: the bound cannot be met, and no plan was written
  double cosine = 1;  // of the output that is furthest from f32
  double max_error = 0;
  double top1 = 1;  // share of rows of scores, [.., classes], whose first choice is that of f32
  struct Pinned {
    std::string layer, reason;
  };
  std::vector<Pinned> pinned = {};  // layers that are wider than asked
  int64_t plan_bytes = 0;
};

// Throws Error as Engine::open does, and Error(invalid_argument) when types are asked for without a calibrator, or a
// batch does not fit the model.
BuildResult build_plan(const std::string& model, const std::string& plan, const BuildOptions& options = {});

}  // namespace lathe
