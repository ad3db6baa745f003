#include "precision/assign.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "graph/hash.h"
#include "passes/passes.h"
#include "precision/range_file.h"
#include "precision/recall.h"
#include "precision/run.h"
#include "precision/smooth.h"

namespace lathe::precision {
namespace {

// Loss by itself, as something to sort by.
double loss(const Agreement& alone) { return 1 - alone.cosine; }

// Where each layer stands on its ladder.
using Rungs = std::vector<size_t>;

class Search {
 public:
  Search(const Graph& graph, std::vector<Layer> layers, Measurer& measurer, const ApplyOptions& apply,
         const PrecisionOptions& options)
      : nodes_(nodes_of(graph)), layers_(std::move(layers)), measurer_(measurer), apply_(apply), options_(options) {}

  void run() {
    rungs_.assign(layers_.size(), 0);
    reasons_.resize(layers_.size());
    note("measuring each layer by itself");
    alone_ = measurer_.probe(candidates(), apply_);
    choose_bytes();
    wanted_ = alone_;
    pin_overflows();
    while (!try_rungs(rungs_) && can_climb())
      if (bisect()) break;
  }

  bool met() const { return met_; }
  Assignment assignment() const { return assignment_of(rungs_); }
  size_t trials() const { return trials_; }

  std::vector<LayerReport> layer_reports() const {
    std::vector<LayerReport> reports;
    for (size_t i = 0; i < layers_.size(); ++i) {
      const Node& node = *nodes_[layers_[i].node];
      reports.push_back({node.name().empty() ? node.output()->name() : node.name(), std::string(op_name(node.op())),
                         layers_[i].ladder.front(), layers_[i].ladder[rungs_[i]], wanted_[i], reasons_[i]});
    }
    return reports;
  }
  const std::vector<OutputAgreement>& outputs() const { return outputs_; }

  // What was found, but for layers that are bytes, which have the next wider type.
  Assignment without_bytes() const {
    Rungs rungs = rungs_;
    for (size_t i = 0; i < layers_.size(); ++i)
      while (is_byte_type(layers_[i].ladder[rungs[i]].compute) && !is_top(i, rungs)) ++rungs[i];
    return assignment_of(rungs);
  }

  // Some layer is narrower than f32, where any can be.
  bool narrows() const {
    for (size_t i = 0; i < layers_.size(); ++i)
      if (layers_[i].ladder[rungs_[i]].compute != DType::f32) return true;
    return layers_.empty();
  }

 private:
  void note(const std::string& what) const {
    if (options_.progress) options_.progress(what);
  }

  std::vector<Measurer::Candidate> candidates() const {
    std::vector<Measurer::Candidate> candidates;
    for (size_t i = 0; i < layers_.size(); ++i) candidates.push_back({layers_[i].node, layers_[i].ladder[rungs_[i]]});
    return candidates;
  }

  Assignment assignment_of(const Rungs& rungs) const {
    Assignment assignment(nodes_.size());
    for (size_t i = 0; i < layers_.size(); ++i) assignment[layers_[i].node] = layers_[i].ladder[rungs[i]];
    return assignment;
  }

  // Bytes of two kinds take the same time: a layer that may have both keeps the kind that loses less.
  void choose_bytes() {
    std::vector<size_t> both;
    std::vector<Measurer::Candidate> second;
    for (size_t i = 0; i < layers_.size(); ++i) {
      const auto& ladder = layers_[i].ladder;
      if (ladder.size() < 2 || !is_byte_type(ladder[0].compute) || !is_byte_type(ladder[1].compute)) continue;
      both.push_back(i);
      second.push_back({layers_[i].node, ladder[1]});
    }
    if (both.empty()) return;
    const std::vector<Agreement> found = measurer_.probe(second, apply_);
    for (size_t i = 0; i < both.size(); ++i) {
      const size_t layer = both[i];
      const bool better = loss(found[i]) < loss(alone_[layer]);
      if (better) alone_[layer] = found[i];
      layers_[layer].ladder.erase(layers_[layer].ladder.begin() + (better ? 0 : 1));
    }
  }

  bool is_top(size_t layer, const Rungs& rungs) const { return rungs[layer] + 1 >= layers_[layer].ladder.size(); }

  void pin_overflows() {
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (alone_[i].finite || is_top(i, rungs_)) continue;
      reasons_[i] = fmt::format("overflows in {}", type_name(layers_[i].ladder[rungs_[i]].compute));
      rungs_[i] = layers_[i].ladder.size() - 1;
    }
  }

  bool can_climb() const {
    for (size_t i = 0; i < layers_.size(); ++i)
      if (!is_top(i, rungs_)) return true;
    return false;
  }

  bool holds(const Agreement& worst) const {
    return worst.finite && !worst.collapsed && worst.cosine >= options_.min_cosine &&
           worst.max_error <= options_.max_error && worst.top1 >= options_.min_top1;
  }

  bool try_rungs(const Rungs& rungs) {
    ++trials_;
    note(fmt::format("trial {}: {} of {} layers narrow", trials_, narrow_count(rungs), layers_.size()));
    outputs_ = measurer_.measure(assignment_of(rungs), apply_);
    met_ = holds(worst(outputs_));
    return met_;
  }

  size_t narrow_count(const Rungs& rungs) const {
    size_t count = 0;
    for (size_t i = 0; i < layers_.size(); ++i) count += layers_[i].ladder[rungs[i]].compute != DType::f32 ? 1 : 0;
    return count;
  }

  // What a layer loses by itself as the outputs see it: all layers behind it pass that on, and add to it. Over many
  // kinds of nets a factor of two to eight from the last layer to the first keeps most layers narrow.
  double passed_on(size_t layer) const {
    constexpr double kFirstToLast = 4;
    const double depth = static_cast<double>(layer) / static_cast<double>(layers_.size());
    return loss(alone_[layer]) * std::pow(kFirstToLast, -depth);
  }

  // `count` of the layers that can climb, those that lose most, one rung up.
  Rungs climbed(const std::vector<size_t>& order, size_t count) const {
    Rungs rungs = rungs_;
    for (size_t i = 0; i < count; ++i) ++rungs[order[i]];
    return rungs;
  }

  // The fewest layers that must climb one rung. If even all of them are too few, all climb, and the next rung is due.
  bool bisect() {
    std::vector<size_t> order;
    for (size_t i = 0; i < layers_.size(); ++i)
      if (!is_top(i, rungs_)) order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return passed_on(a) > passed_on(b); });
    size_t enough = order.size(), too_few = 0;
    const bool all_do = try_rungs(climbed(order, enough));
    while (all_do && enough - too_few > 1) {
      const size_t middle = too_few + (enough - too_few) / 2;
      (try_rungs(climbed(order, middle)) ? enough : too_few) = middle;
    }
    for (size_t i = 0; i < enough; ++i) {
      const size_t layer = order[i];
      reasons_[layer] = fmt::format("loses most by itself: cosine {:.6f} in {}", alone_[layer].cosine,
                                    type_name(layers_[layer].ladder[rungs_[layer]].compute));
    }
    rungs_ = climbed(order, enough);
    if (all_do) return try_rungs(rungs_);
    alone_ = measurer_.probe(candidates(), apply_);
    return false;
  }

  std::vector<Node*> nodes_;
  std::vector<Layer> layers_;
  Measurer& measurer_;
  const ApplyOptions& apply_;
  const PrecisionOptions& options_;
  Rungs rungs_;
  std::vector<Agreement> alone_, wanted_;  // of the rungs where the layers stand; of the lowest ones
  std::vector<std::string> reasons_;
  std::vector<OutputAgreement> outputs_;
  size_t trials_ = 0;
  bool met_ = false;
};

// The sets of types that the fastest is sought among; one set where that is not asked.
std::vector<std::vector<DType>> type_sets(const PrecisionOptions& options) {
  std::vector<std::vector<DType>> sets = {options.types};
  if (!options.fastest) return sets;
  for (const DType type : options.types)
    if (options.types.size() > 1) sets.push_back({type});
  return sets;
}

// Without bytes where calibration never came, as to an expert that no token was sent to.
std::vector<Layer> with_ranges(const Graph& graph, std::vector<Layer> layers, const ApplyOptions& apply) {
  const std::vector<Node*> nodes = nodes_of(graph);
  for (Layer& layer : layers) {
    const Node& node = *nodes[layer.node];
    std::erase_if(layer.ladder, [&](const LayerType& type) {
      return is_byte_type(type.compute) && has_one_range(node, type.compute, apply.support, apply.static_activations) &&
             apply.ranges.count(node.input(0)->name()) == 0;
    });
  }
  std::erase_if(layers, [](const Layer& layer) { return layer.ladder.empty(); });
  return layers;
}

struct Found {
  bool met = false;
  Assignment assignment, without_bytes;
  Speed speed;
  std::vector<LayerReport> layers;
  std::vector<OutputAgreement> outputs;
  size_t trials = 0;
};

Found find_types(const Graph& graph, const std::vector<DType>& types, Measurer& measurer, const ApplyOptions& apply,
                 PrecisionOptions options) {
  options.types = types;
  Search search(graph, with_ranges(graph, find_layers(graph, apply.support, options), apply), measurer, apply, options);
  search.run();
  return {search.met() && search.narrows(),
          search.assignment(),
          search.without_bytes(),
          measurer.speed(search.assignment(), apply),
          search.layer_reports(),
          search.outputs(),
          search.trials()};
}

std::vector<DType> halves_of(std::vector<DType> types) {
  std::erase_if(types, [](DType type) { return !is_half(type); });
  return types;
}

// Rows cost time to quantise. Where few layers may be bytes, or products are small, that is more than bytes gain over
// halves. Both are timed where values really are halves; elsewhere only their weights are narrower.
bool are_slower_than_halves(const Found& found, Measurer& measurer, const ApplyOptions& apply,
                            const PrecisionOptions& options) {
  if (options.fastest || !found.met || !apply.support.narrow_activations || halves_of(options.types).empty() ||
      found.without_bytes == found.assignment)
    return false;
  if (options.progress) options.progress("timing bytes beside halves");
  const auto ms = [&](const Assignment& assignment) {
    return (options.usual.empty() ? measurer.speed(assignment, apply)
                                  : measurer.speed(assignment, apply, options.usual))
        .ms;
  };
  const double ms_of_bytes = ms(found.assignment);
  return ms(found.without_bytes) < ms_of_bytes;
}

void check_types(const PrecisionSupport& support, const PrecisionOptions& options, const std::string& device) {
  std::string known;
  for (const DType type : support.types) known += fmt::format("{}{}", known.empty() ? "" : ", ", type_name(type));
  for (const DType type : asked_types(options))
    if (std::find(support.types.begin(), support.types.end(), type) == support.types.end())
      throw Error(ErrorCode::unsupported, fmt::format("layers cannot compute in {} on {}", type_name(type), device))
          .remedy(known.empty() ? "There is no type but fp32" : "The types there are " + known);
}

// What was found for another model, or in another way, is not what is asked for.
void check_cache(const CalibrationCache& cache, uint64_t model, const PrecisionOptions& options) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::invalid_argument, why)
        .in_file(options.range_cache.string())
        .remedy("Name another calibration cache, or delete this one");
  };
  if (cache.model.value_or(model) != model) refuse("it was found for another model, or by another version of Lathe");
  if (const Calibrator asked = options.calibrator.value_or(*cache.calibrator); asked != *cache.calibrator)
    refuse(fmt::format("its ranges were chosen by '{}', not '{}'", to_string(*cache.calibrator), to_string(asked)));
  if (!cache.columns.empty() && cache.smoothing.value_or(options.smoothing) != options.smoothing)
    refuse(fmt::format("its ranges were found with a smoothing of {}, not {}", *cache.smoothing, options.smoothing));
}

// Empty where there is none.
CalibrationCache open_cache(const Graph& graph, const PrecisionOptions& options) {
  CalibrationCache cache;
  if (options.range_cache.empty()) return cache;
  const uint64_t model = hash(graph);
  if (std::filesystem::exists(options.range_cache)) cache = load_cache(options.range_cache);
  if (!cache.calibrator) cache.calibrator = options.calibrator.value_or(kDefaultCalibrator);
  check_cache(cache, model, options);
  cache.model = model;
  cache.smoothing = options.smoothing;
  return cache;
}

// Adds the ranges that are missing of the values that the layers quantise as a whole.
void calibrate(const Graph& graph, const std::vector<Layer>& layers, const RunOptions& run, const Batches& batches,
               const PrecisionOptions& options, const PrecisionSupport& support, CalibrationCache& cache) {
  std::vector<std::string> missing = quantized_values(graph, layers, support, options.static_activations);
  std::erase_if(missing, [&](const std::string& name) { return cache.ranges.count(name) > 0; });
  if (missing.empty()) return;
  if (options.progress) options.progress(fmt::format("calibrating {} ranges", missing.size()));
  const Calibrator calibrator = cache.calibrator.value_or(options.calibrator.value_or(kDefaultCalibrator));
  for (const auto& [name, histogram] : histograms(graph, run, batches, missing))
    if (!histogram.empty()) cache.ranges[name] = calibrated_range(histogram, calibrator, support.asymmetric_bytes);
}

size_t size_of(const CalibrationCache& cache) { return cache.ranges.size() + cache.columns.size(); }

// Moves outliers and finds ranges, with what the cache knows and into it, and into its file (but for TensorRT's) if
// that has less.
void prepare_bytes(Graph& graph, const RunOptions& run, const Batches& batches, const PrecisionOptions& options,
                   const PrecisionSupport& support, CalibrationCache& cache, size_t in_file) {
  if (options.smoothing > 0)
    smooth(graph, find_layers(graph, support, options), run, batches, options.smoothing, cache.ranges, cache.columns);
  calibrate(graph, find_layers(graph, support, options), run, batches, options, support, cache);
  const bool is_new = size_of(cache) > in_file || !std::filesystem::exists(options.range_cache);
  if (!options.range_cache.empty() && is_new && !is_tensorrt_cache(options.range_cache))
    save_cache(options.range_cache, cache);
}

// No bound: every layer gets the narrowest of its types, and nothing runs. Only the new weights are in memory.
Report convert(Graph& graph, const ApplyOptions& apply, const PrecisionOptions& options) {
  const std::vector<Node*> nodes = nodes_of(graph);
  Assignment assignment(nodes.size());
  const std::vector<Layer> layers = find_layers(graph, apply.support, options);
  Report report;
  report.met = layers.empty();
  for (const Layer& layer : layers) {
    const Node& node = *nodes[layer.node];
    const LayerType& type = assignment[layer.node] = layer.ladder.front();
    report.met |= type.compute != DType::f32;
    report.layers.push_back({node.name().empty() ? node.output()->name() : node.name(),
                             std::string(op_name(node.op())),
                             type,
                             type,
                             {},
                             {}});
  }
  ConvertedWeights weights(true);
  apply_and_rewrite(graph, assignment, apply, weights);
  return report;
}

// What ranges are found on, and what they are judged on: every other batch each, since ranges fit what they were found
// on better than anything else. Both are all batches where there is but one, or where nothing needs a range.
struct Evidence {
  Batches calibration, judgement;
};

Evidence evidence_of(const Batches& batches, const PrecisionOptions& options) {
  if (batches.size() < 2 || !finds_ranges(options)) return {batches, batches};
  Evidence evidence;
  for (size_t i = 0; i < batches.size(); ++i)
    (i % 2 == 0 ? evidence.calibration : evidence.judgement).push_back(batches[i]);
  return evidence;
}

size_t constant_bytes(const Graph& graph) {
  size_t bytes = 0;
  for (const auto& node : graph.nodes())
    if (const Constant* constant = node->as<Constant>();
        constant != nullptr && constant->value.dtype() != DType::string)
      bytes += storage_bytes(constant->value.dtype(), constant->value.elements());
  return bytes;
}

// By more than what times of one assignment differ from run to run.
bool f32_is_faster(const Report& report) {
  constexpr double kNoise = 1.05;
  return report.met && report.after.ms > kNoise * report.before.ms;
}

Assignment leave_in_f32(Report& report, size_t nodes) {
  report.fastest_in_f32 = true;
  for (LayerReport& layer : report.layers) layer.type = layer.wanted = {};
  for (OutputAgreement& output : report.outputs) output.agreement = {};
  report.after = report.before;
  return Assignment(nodes);
}

}  // namespace

bool finds_ranges(const PrecisionOptions& options) {
  const std::vector<DType> types = asked_types(options);
  return (options.fastest && types.empty()) || std::any_of(types.begin(), types.end(), is_byte_type);
}

bool measures(const PrecisionOptions& options) {
  const auto needs_ranges = [](DType type) { return !is_half(type); };
  const std::vector<DType> types = asked_types(options);
  return options.min_cosine > 0 || options.min_top1 > 0 || std::isfinite(options.max_error) || options.fastest ||
         std::any_of(types.begin(), types.end(), needs_ranges);
}

Report assign(Graph& graph, const CompileOptions& compile, const Batches& batches, PrecisionOptions options) {
  LATHE_CHECK(!batches.empty());
  const std::unique_ptr<Backend> backend = make_backend(compile);
  const PrecisionSupport support = backend->precision_support();
  if (options.fastest && options.types.empty()) options.types = support.types;
  check_types(support, options, compile.device);
  backend->legalize_types(graph);
  if (!measures(options)) return convert(graph, {support, {}, false}, options);
  RunOptions inner{compile, options.threads, backend->host_memory() && constant_bytes(graph) >= options.passing_from,
                   options.run_ms, backend->host_memory() ? options.observer : nullptr};
  inner.compile.passes.trace = {};
  CalibrationCache cache = open_cache(graph, options);
  const size_t in_file = size_of(cache);
  std::optional<std::string> key;
  if (options.outcomes != nullptr) key = search_key(graph, *backend, batches, cache, options);
  std::optional<Outcome> known;
  if (key) known = recall(*options.outcomes, *key);
  if (known) {
    cache.ranges = known->ranges;
    cache.columns = known->columns;
  }
  const Evidence evidence = evidence_of(batches, options);
  prepare_bytes(graph, inner, evidence.calibration, options, support, cache, in_file);
  const ApplyOptions apply_options{support, cache.ranges, options.static_activations};
  if (known && known->assignment.size() == graph.nodes().size()) {
    if (options.progress) options.progress("taking the types that were chosen before");
    ConvertedWeights weights(true);
    apply_and_rewrite(graph, known->assignment, apply_options, weights);
    known->report.recalled = true;
    return std::move(known->report);
  }
  if (options.progress) options.progress("running in fp32");
  Measurer measurer(graph, inner, evidence.judgement);
  Report report;
  report.before = measurer.reference_speed();
  std::optional<Assignment> best;
  for (const std::vector<DType>& types : type_sets(options)) {
    Found found = find_types(graph, types, measurer, apply_options, options);
    if (are_slower_than_halves(found, measurer, apply_options, options)) {
      if (options.progress) options.progress("bytes are slower than halves: taking these");
      Found halves = find_types(graph, halves_of(types), measurer, apply_options, options);
      report.trials += found.trials;
      report.halves_are_faster = halves.met;
      if (halves.met) found = std::move(halves);
    }
    report.trials += found.trials;
    if (best && !found.met) continue;
    if (best && report.met && found.speed.ms >= report.after.ms) continue;
    best = std::move(found.assignment);
    report.met = found.met;
    report.after = found.speed;
    report.layers = std::move(found.layers);
    report.outputs = std::move(found.outputs);
  }
  if (options.fastest && options.rules.empty() && f32_is_faster(report)) *best = leave_in_f32(report, best->size());
  apply_and_rewrite(graph, *best, apply_options, measurer.take_weights());
  if (key) keep(*options.outcomes, *key, {*best, report, cache.ranges, cache.columns});
  return report;
}

}  // namespace lathe::precision
