// What a caller asks of precision, and the vocabulary of this room: layers, types, assignments.
//
// A layer is a node of the optimised f32 graph that may compute in a narrower type. Each has a ladder of types, the
// narrowest first; a layer that breaks the bound on accuracy is pinned: it climbs until the bound holds. An assignment
// says for every layer on which rung it stands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "precision/batches.h"

namespace lathe {
class StepObserver;
class TimingCache;
}  // namespace lathe

namespace lathe::precision {

// How a range of activations is chosen from what calibration saw: all of it; the part that loses the least information
// (Kullback-Leibler divergence, as TensorRT's entropy calibrator); without the outermost values; with the least mean
// squared error.
enum class Calibrator : uint8_t { min_max, entropy, percentile, mse };
// On the bundled models entropy loses several times as much as the others: it cuts off outliers that transformers need.
constexpr Calibrator kDefaultCalibrator = Calibrator::mse;
std::string_view to_string(Calibrator calibrator);
std::optional<Calibrator> calibrator_from_string(std::string_view text);  // "entropy", "min-max", "percentile", "mse"

// A type of layers as users write it: "fp32", "fp16", "bf16", "fp8", "int8".
std::string_view type_name(DType type);
std::optional<DType> type_from_name(std::string_view name);

// A type for the layers whose name, or the name of whose result, matches: '*' stands for anything.
struct LayerRule {
  std::string pattern;
  DType type = DType::f32;
};

struct PrecisionOptions {
  std::vector<DType> types = {};  // that layers may have besides f32: f16, bf16, f8e4m3, i8
  // Of the subsets of `types` that meet the bound, or of all types that the device has where `types` is empty, the
  // fastest, f32 alone if that is faster than all of them; else all of `types`.
  bool fastest = false;
  double min_cosine = 0.999;
  double max_error = std::numeric_limits<double>::infinity();  // of any output element
  double min_top1 = 0;                // share of rows of scores, [.., classes], whose first choice stays; 0: any
  std::vector<LayerRule> rules = {};  // the last one that matches a layer wins, whatever `types` has
  std::optional<Calibrator> calibrator = {};  // absent: as the ranges of the cache were chosen, else the default
  std::filesystem::path range_cache = {};     // file of what calibration found, used and added to; empty: none
  // Matrix products quantise their activations by calibrated ranges of whole tensors instead of per row as they come.
  bool static_activations = false;
  // Between a norm and the products that read it, outliers move from activations into weights: the exponent of the
  // activations' share (SmoothQuant's alpha); 0 leaves them where they are.
  double smoothing = 0.5;
  // A model with so many bytes of weights is measured with weights in memory for the length of a step only, where they
  // are in the host's memory: slower, but in little more memory than the narrower weights take.
  size_t passing_from = size_t{2} << 30;
  // Inputs of the sizes that the model is to be fast at. Where values may be halves as well as bytes, layers become
  // bytes only if that takes less time on them than halves do; empty: on the first batch.
  Batch usual = {};
  int threads = 0;  // of the runs, which tell the fastest types; 0: one per physical core
  // What a run takes, in ms, by the engine's bytes of weights; absent: runs are timed. With it the search for the
  // fastest types can be tested, as its outcome does not depend on the machine.
  std::function<double(size_t weight_bytes)> run_ms = {};
  std::function<void(const std::string& what)> progress = {};  // may throw to stop
  StepObserver* observer =
      nullptr;  // of the runs on the host that measure, but for those that are timed; may throw, too
  TimingCache* outcomes = nullptr;  // where what was chosen before is found, and kept (recall.h)
};

}  // namespace lathe::precision
