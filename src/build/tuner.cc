#include "build/tuner.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "build/tuner_bench.h"
#include "graph/token_packing.h"

namespace lathe {
namespace {

// A set of sizes to time at: the usual ones of a profile, also with half of the tokens of a batch that is packed, and
// with the next size above; or some between its smallest and its largest.
struct Point {
  SymbolBindings symbols;
  bool usual = false;
};

// How much larger each point is than the one before, about.
constexpr double kStride = 2;
// Kernels that take longer keep their order when sizes grow further.
constexpr double kLongMicroseconds = 5000;

struct Symbol {
  std::string name;
  double low, high;
  bool leading;  // the first axis of an input: how many requests there are at a time
};

// Those of the inputs that have a size at both ends.
std::vector<Symbol> symbols_between(const Graph& graph, const SymbolBindings& a, const SymbolBindings& b) {
  std::vector<Symbol> symbols;
  SymbolBindings seen;
  for (const Value* input : graph.inputs())
    for (size_t axis = 0; axis < input->shape().size(); ++axis) {
      const Dim& dim = input->shape()[axis];
      if (!dim.is_symbol() || seen.find(dim.to_string())) continue;
      const auto low = a.find(dim.to_string()), high = b.find(dim.to_string());
      if (!low || !high) continue;
      seen.bind(dim.to_string(), 0);
      symbols.push_back({dim.to_string(), static_cast<double>(std::max<int64_t>(1, *low)),
                         static_cast<double>(std::max<int64_t>(1, *high)), axis == 0});
    }
  return symbols;
}

// From `a` to `b` in geometric steps, both left out. Requests grow first, then their number: one request of any length
// is what many a session runs, many short ones are rare.
void add_between(const Graph& graph, const SymbolBindings& a, const SymbolBindings& b, std::vector<Point>& points) {
  const std::vector<Symbol> symbols = symbols_between(graph, a, b);
  const auto steps_of = [&](bool leading) {
    double growth = 1;
    for (const Symbol& symbol : symbols)
      if (symbol.leading == leading) growth *= symbol.high / symbol.low;
    return static_cast<int>(std::ceil(std::log(std::max(1.0, growth)) / std::log(kStride)));
  };
  const int lengths = steps_of(false), counts = steps_of(true);
  for (int i = 1; i < lengths + counts; ++i) {
    Point& point = points.emplace_back();
    for (const Symbol& symbol : symbols) {
      const double step = symbol.leading ? i - lengths : i, steps = symbol.leading ? counts : lengths;
      const double part = steps > 0 ? std::clamp(step / steps, 0.0, 1.0) : 1;
      point.symbols.bind(symbol.name, std::llround(symbol.low * std::pow(symbol.high / symbol.low, part)));
    }
    bind_all_tokens(graph, point.symbols);
  }
}

std::vector<Point> points_of(const Graph& graph, std::span<const Profile> profiles) {
  std::vector<Point> points;
  for (const Profile& profile : profiles) {
    const SymbolBindings min = bind_profile(graph, profile, &SizeRange::min),
                         opt = bind_profile(graph, profile, &SizeRange::opt),
                         max = bind_profile(graph, profile, &SizeRange::max);
    points.push_back({min, false});
    add_between(graph, min, opt, points);
    points.push_back({opt, true});
    // What fills the rows of tiles to the last, as half of a power of two does, is not what suits any other size.
    for (const int64_t more : {0, 1})
      if (SymbolBindings half = opt; bind_half_of_tokens(graph, half, more)) points.push_back({std::move(half), true});
    add_between(graph, opt, max, points);
    points.push_back({max, false});
  }
  return points;
}

// A kernel that fails when it is tried (a library that refuses these sizes, too little memory) is not chosen.
double time_of(TunerBench& bench, const Candidate& candidate) {
  constexpr double kNever = 1e9;  // microseconds
  try {
    return bench.microseconds(candidate);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled) throw;
    return kNever;
  }
}

using Times = std::vector<double>;  // by candidate, relative to the fastest

struct Measured {
  int64_t elements = 0;  // of the node's first output
  bool usual = false;
  Times times;
};

// A later candidate must be better by the margin.
size_t fastest(const Times& times) {
  size_t best = 0;
  for (size_t i = 1; i < times.size(); ++i)
    if (times[i] * (1 + kTuneMargin) < times[best]) best = i;
  return best;
}

// Chooses for one node.
class Choice {
 public:
  Choice(const Node& node, const CompiledModel& model, DeviceContext& device, TimingCache& cache)
      : node_(node), model_(model), device_(device), cache_(cache), candidates_(model.backend->candidates(node)) {
    std::erase_if(candidates_, [](const Candidate& c) { return !c.declined.empty(); });
  }

  bool open() const { return candidates_.size() > 1; }

  // Asks the backend for the kernels of whatever will have to be timed.
  void request_kernels(std::span<const Point> points) const {
    for (const Point& point : points) {
      if (!point.usual) continue;
      TunerBench bench(node_, model_, point.symbols, device_);
      if (!bench.evaluate_sizes()) continue;
      for (const Candidate& candidate : candidates_)
        if (!known(bench.key(), candidate)) candidate.make();
    }
  }

  // nullopt leaves the node to the backend's order.
  std::optional<KernelChoice> make(std::span<const Point> points) {
    for (const Point& point : points) measure(point);
    if (std::none_of(measured_.begin(), measured_.end(), [](const Measured& m) { return m.usual; }))
      return std::nullopt;
    const KernelChoice choice = by_size();
    return can_take_turns(choice) ? choice : KernelChoice(candidates_[for_all_sizes()].kernel);
  }

 private:
  bool known(const std::string& key, const Candidate& candidate) const {
    const TimingCache::Times* times = cache_.find(key);
    return times != nullptr && times->contains(candidate.kernel);
  }

  void measure(const Point& point) {
    TunerBench bench(node_, model_, point.symbols, device_);
    if (!bench.evaluate_sizes() || (!point.usual && bench.elements() >= long_elements_)) return;
    const std::string key = bench.key();
    Measured& measured = measured_.emplace_back(Measured{bench.elements(), point.usual, {}});
    for (const Candidate& candidate : candidates_) {
      if (!known(key, candidate)) cache_.insert(key, candidate.kernel, time_of(bench, candidate));
      measured.times.push_back(cache_.find(key)->at(candidate.kernel));
    }
    // A kernel that makes no step takes no time; the least that a clock can tell keeps the ratios finite.
    constexpr double kLeast = 1e-3;
    const double least = std::max(kLeast, *std::min_element(measured.times.begin(), measured.times.end()));
    if (least > kLongMicroseconds) long_elements_ = std::min(long_elements_, measured.elements);
    for (double& time : measured.times) time = std::max(kLeast, time) / least;
  }

  size_t for_all_sizes() const {
    Times sums(candidates_.size(), 0);
    for (const Measured& measured : measured_)
      for (size_t i = 0; i < sums.size() && measured.usual; ++i) sums[i] += measured.times[i];
    return fastest(sums);
  }

  // The fastest at each number of elements; the one for smaller sizes goes on while it is within the margin.
  KernelChoice by_size() const {
    std::map<int64_t, Times> by_elements;
    for (const Measured& measured : measured_) {
      Times& sums = by_elements.try_emplace(measured.elements, candidates_.size(), 0).first->second;
      for (size_t i = 0; i < sums.size(); ++i) sums[i] += measured.times[i];
    }
    KernelChoice choice;
    std::optional<size_t> before;
    double last_elements = 0;
    for (const auto& [elements, times] : by_elements) {
      const size_t best = fastest(times);
      if (!before || times[*before] > times[best] * (1 + kTuneMargin)) {
        if (before) choice.ranges.back().most = std::llround(std::sqrt(last_elements * static_cast<double>(elements)));
        choice.ranges.push_back({candidates_[best].kernel, kAnySize});
        before = best;
      }
      last_elements = static_cast<double>(elements);
    }
    return choice;
  }

  // Whether all of them read the weights in one layout.
  bool can_take_turns(const KernelChoice& choice) const {
    if (choice.ranges.size() == 1) return true;
    std::optional<std::vector<WeightLayout>> layouts;
    for (const Candidate& candidate : candidates_) {
      const auto serves = [&](const KernelRange& range) { return range.kernel == candidate.kernel; };
      if (std::none_of(choice.ranges.begin(), choice.ranges.end(), serves)) continue;
      const Lowered lowered = candidate.make();
      if (lowered.step == nullptr || (layouts && *layouts != lowered.operand_layouts)) return false;
      layouts = lowered.operand_layouts;
    }
    return true;
  }

  const Node& node_;
  const CompiledModel& model_;
  DeviceContext& device_;
  TimingCache& cache_;
  std::vector<Candidate> candidates_;
  std::vector<Measured> measured_;
  int64_t long_elements_ = kAnySize;  // sizes from which on a run takes long
};

// What the symbols of a region's inputs are when the node around it has these sizes; for loops, in the first iteration.
SymbolBindings enter_region(const Node& node, const Graph& region, SymbolBindings symbols) {
  const size_t first = node.is<If>() ? 1 : 0;
  for (size_t i = 0; i < region.inputs().size() && first + i < node.inputs().size(); ++i) {
    const Value* outside = node.input(first + i);
    const Shape& inside = region.inputs()[i]->shape();
    if (outside == nullptr || outside->shape().size() != inside.size()) continue;
    for (size_t axis = 0; axis < inside.size(); ++axis)
      if (const auto size = symbols.try_evaluate(outside->shape()[axis]); size && inside[axis].is_symbol())
        symbols.bind(inside[axis].to_string(), *size);
  }
  return symbols;
}

class Tuner {
 public:
  Tuner(const CompiledModel& model, const TuneOptions& options, TimingCache& cache)
      : model_(model),
        options_(options),
        cache_(cache),
        device_(model.backend->make_context({.threads = options.threads})),
        numbers_(number_nodes(*model.graph)) {}

  KernelChoices run() && {
    const std::vector<Point> points = points_of(*model_.graph, options_.profiles);
    size_t total = 0, done = 0;
    visit(*model_.graph, points, [&](Choice& choice, std::span<const Point> at, const Node&) {
      choice.request_kernels(at);
      ++total;
    });
    model_.backend->finish_lowering();  // compiles them together
    visit(*model_.graph, points, [&](Choice& choice, std::span<const Point> at, const Node& node) {
      if (const auto chosen = choice.make(at)) choices_[numbers_.at(&node)] = *chosen;
      if (options_.progress) options_.progress(++done, total);
    });
    return std::move(choices_);
  }

 private:
  template <class Visit>
  void visit(const Graph& graph, std::span<const Point> points, const Visit& each) {
    for (const auto& node : graph.nodes()) {
      Choice choice(*node, model_, *device_, cache_);
      if (choice.open()) each(choice, points, *node);
      for (const Region* region : regions_of(node->op())) {
        std::vector<Point> inner;
        for (const Point& point : points)
          inner.push_back({enter_region(*node, region->graph(), point.symbols), point.usual});
        visit(region->graph(), inner, each);
      }
    }
  }

  const CompiledModel& model_;
  const TuneOptions& options_;
  TimingCache& cache_;
  std::unique_ptr<DeviceContext> device_;
  const std::unordered_map<const Node*, size_t> numbers_;
  KernelChoices choices_;
};

}  // namespace

KernelChoices tune(const CompiledModel& model, const TuneOptions& options, TimingCache& cache) {
  return Tuner(model, options, cache).run();
}

CompiledModel tuned(CompiledModel model, const CompileOptions& compile_options, const TuneOptions& options,
                    TimingCache& cache) {
  const KernelChoices choices = tune(model, options, cache);
  CompiledModel result = relower(std::move(model.graph), compile_options, choices);
  result.passes = std::move(model.passes);
  result.weights = std::move(model.weights);
  return result;
}

}  // namespace lathe
