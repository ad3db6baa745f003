#include "build/tuner.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <random>

#include "base/error.h"
#include "graph/hash.h"

namespace lathe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMinRuns = 5;
constexpr int kQueuedRuns = 20;  // of a device that works while the host goes on, so that launching them is hidden
constexpr size_t kBeyondCaches = size_t{128} << 20;
constexpr auto kTimePerKernel = std::chrono::milliseconds(10);

// Floats in [-1, 1], else zeros. They repeat, since making up millions of them would take longer than the kernels do.
Tensor made_up(DType dtype, std::span<const int64_t> dims) {
  constexpr int64_t kPeriod = 4096;
  Tensor tensor(dtype, {dims.begin(), dims.end()});
  if (!is_float(dtype)) return tensor;
  std::minstd_rand random;
  const int64_t fresh = std::min(kPeriod, tensor.elements());
  for (int64_t at = 0; at < fresh; ++at) tensor.write_double(at, static_cast<double>(random() % 2001) / 1000 - 1);
  const std::span<std::byte> bytes = tensor.mutable_bytes();
  const std::span<std::byte> period = bytes.first(storage_bytes(dtype, fresh));
  for (size_t at = period.size(); at < bytes.size(); at += period.size())
    std::memcpy(&bytes[at], period.data(), std::min(period.size(), bytes.size() - at));
  return tensor;
}

// The operands and results of one node with memory behind them, the same for all its kernels: weights as they are, the
// rest made up.
class Bench {
 public:
  Bench(const Node& node, const CompiledModel& model, const SymbolBindings& symbols, DeviceContext& device)
      : node_(node), backend_(*model.backend), weights_(model.weights), symbols_(symbols), device_(device) {}
  ~Bench() {
    for (void* memory : memory_) device_.release(memory);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  // False when a size is not known.
  bool evaluate_sizes() { return evaluate(node_.inputs(), inputs_) && evaluate(node_.outputs(), outputs_); }

  std::string key() const {
    std::string key = fmt::format("{}#{:016x}", op_name(node_.op()), hash(node_.op()));
    for (const TensorRef& ref : inputs_)
      key += ref.present ? fmt::format(" {}{}", to_string(ref.dtype), to_string(ref.dims)) : " _";
    return fmt::format("{} on {}/{} with {} threads", key, backend_.name(), backend_.target(), device_.threads());
  }

  double microseconds(const Candidate& candidate) {
    const Lowered lowered = candidate.make();
    backend_.finish_lowering();
    if (lowered.step == nullptr) return 0;
    device_.begin_run();
    copies_.assign(inputs_.size(), {});
    for (size_t i = 0; i < inputs_.size(); ++i)
      if (inputs_[i].present)
        copies_[i] = operand(i, i < lowered.operand_layouts.size() ? lowered.operand_layouts[i] : WeightLayout{});
    take_copies(0);
    for (TensorRef& output : outputs_)
      if (output.data == nullptr) output.data = allocate(storage_bytes(output.dtype, output.elements()));
    const StepIo io{inputs_, outputs_, &symbols_, device_.threads(), nullptr};
    const auto state = lowered.step->prepare(io);
    void* workspace = allocate(lowered.step->workspace_bytes(io));
    const int repeats = device_.host_memory() ? 1 : kQueuedRuns;
    const auto enqueue = [&] {
      for (int i = 0; i < repeats; ++i) {
        take_copies(i);
        lowered.step->run(io, state.get(), workspace, device_);
      }
    };
    enqueue();  // the first run pays for cold caches and sleeping threads
    device_.synchronize();
    if (!device_.can_record() || !lowered.step->recordable()) return median_time(enqueue) / repeats;
    device_.begin_recording();
    enqueue();
    const auto recording = device_.end_recording();
    return median_time([&] { device_.replay(*recording); }) / repeats;
  }

 private:
  struct Operand {
    size_t input;
    WeightLayout layout;
    std::vector<void*> copies;  // of a constant
  };

  template <class Run>
  double median_time(const Run& run) {
    std::vector<double> times;
    for (const auto end = Clock::now() + kTimePerKernel; times.size() < kMinRuns || Clock::now() < end;) {
      const auto start = Clock::now();
      run();
      device_.synchronize();
      times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    }
    std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
    return times[times.size() / 2];
  }

  bool evaluate(std::span<Value* const> values, std::vector<TensorRef>& refs) {
    dims_.reserve(node_.inputs().size() + node_.outputs().size());  // refs point into it
    for (const Value* value : values) {
      TensorRef& ref = refs.emplace_back();
      if (value == nullptr) continue;
      if (!value->type().is_tensor() || !value->type().ranked) return false;
      std::vector<int64_t>& sizes = dims_.emplace_back();
      for (const Dim& dim : value->shape()) {
        const auto size = symbols_.try_evaluate(dim);
        if (!size || *size < 0) return false;
        sizes.push_back(*size);
      }
      ref = {nullptr, value->dtype(), sizes, true, nullptr};
    }
    return true;
  }

  void* allocate(size_t bytes) {
    memory_.push_back(device_.allocate(std::max<size_t>(bytes, 1)));
    return memory_.back();
  }

  void take_copies(int run) {
    for (size_t i = 0; i < inputs_.size(); ++i)
      if (inputs_[i].present) inputs_[i].data = copies_[i][static_cast<size_t>(run) % copies_[i].size()];
  }

  std::vector<void*> operand(size_t i, const WeightLayout& layout) {
    for (const Operand& known : operands_)
      if (known.input == i && known.layout == layout) return known.copies;
    operands_.push_back({i, layout, make_operand(i, layout)});
    return operands_.back().copies;
  }

  std::vector<void*> make_operand(size_t i, const WeightLayout& layout) {
    const Node* producer = node_.input(i)->producer();
    if (producer == nullptr || !producer->is<Constant>())
      return {upload(made_up(inputs_[i].dtype, inputs_[i].dims).bytes())};
    const Tensor value = weights_.plain(producer->as<Constant>()->value);
    if (layout.plain()) return upload_copies(value.bytes());
    std::vector<std::byte> packed(backend_.packed_bytes(layout, value.dtype(), value.dims()));
    backend_.pack(layout, value, packed);
    return upload_copies(packed);
  }

  // As many that the cache of a device does not hold them: in a model every layer comes with weights of its own.
  std::vector<void*> upload_copies(std::span<const std::byte> bytes) {
    std::vector<void*> copies = {upload(bytes)};
    if (device_.host_memory() || bytes.empty()) return copies;
    const size_t count = std::min<size_t>(kBeyondCaches / bytes.size(), kQueuedRuns);
    while (copies.size() < count) {
      copies.push_back(allocate(bytes.size()));
      device_.copy(copies.back(), copies.front(), bytes.size());
    }
    return copies;
  }

  void* upload(std::span<const std::byte> bytes) {
    void* memory = allocate(bytes.size());
    device_.upload(memory, bytes);
    return memory;
  }

  const Node& node_;
  const Backend& backend_;
  const WeightSource& weights_;
  const SymbolBindings& symbols_;
  DeviceContext& device_;
  std::vector<std::vector<int64_t>> dims_;
  std::vector<TensorRef> inputs_, outputs_;
  std::vector<Operand> operands_;
  std::vector<std::vector<void*>> copies_;  // of each input, for the kernel that is being timed
  std::vector<void*> memory_;
};

// A kernel that fails when it is tried (a library that refuses these sizes, too little memory) is not chosen.
double time_of(Bench& bench, const Candidate& candidate) {
  constexpr double kNever = 1e9;  // microseconds
  try {
    return bench.microseconds(candidate);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled) throw;
    return kNever;
  }
}

using Times = std::vector<double>;  // by candidate, relative to the fastest

// Adds what the candidates take for the sizes that `symbols` give; false when those leave the node's sizes open.
bool add_times(const Node& node, std::span<const Candidate> candidates, const CompiledModel& model,
               const SymbolBindings& symbols, DeviceContext& device, TimingCache& cache, Times& sums) {
  Bench bench(node, model, symbols, device);
  if (!bench.evaluate_sizes()) return false;
  const std::string key = bench.key();
  Times times;
  for (const Candidate& candidate : candidates) {
    const TimingCache::Times* known = cache.find(key);
    if (known == nullptr || !known->contains(candidate.kernel))
      cache.insert(key, candidate.kernel, time_of(bench, candidate));
    times.push_back(cache.find(key)->at(candidate.kernel));
  }
  // A kernel that makes no step takes no time; the least that a clock can tell keeps the ratios finite.
  constexpr double kLeast = 1e-3;
  const double fastest = std::max(kLeast, *std::min_element(times.begin(), times.end()));
  for (size_t i = 0; i < times.size(); ++i) sums[i] += std::max(kLeast, times[i]) / fastest;
  return true;
}

// The kernel to take, or nullopt to leave it to the backend's order.
std::optional<std::string> choose(const Node& node, const CompiledModel& model, std::span<const SymbolBindings> sizes,
                                  DeviceContext& device, TimingCache& cache) {
  std::vector<Candidate> candidates = model.backend->candidates(node);
  std::erase_if(candidates, [](const Candidate& c) { return !c.declined.empty(); });
  if (candidates.size() < 2) return std::nullopt;
  Times sums(candidates.size(), 0);
  bool timed = false;
  for (const SymbolBindings& symbols : sizes) timed |= add_times(node, candidates, model, symbols, device, cache, sums);
  if (!timed) return std::nullopt;
  size_t best = 0;
  for (size_t i = 1; i < sums.size(); ++i)
    if (sums[i] * (1 + kTuneMargin) < sums[best]) best = i;  // a later candidate must be better by the margin
  return candidates[best].kernel;
}

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

  void visit(const Graph& graph, const std::vector<SymbolBindings>& sizes) {
    for (const auto& node : graph.nodes()) {
      if (const auto kernel = choose(*node, model_, sizes, *device_, cache_))
        choices_[numbers_.at(node.get())] = *kernel;
      if (options_.progress) options_.progress(++done_, numbers_.size());
      for (const Region* region : regions_of(node->op())) {
        std::vector<SymbolBindings> inner;
        for (const SymbolBindings& symbols : sizes) inner.push_back(enter_region(*node, region->graph(), symbols));
        visit(region->graph(), inner);
      }
    }
  }
  KernelChoices take() { return std::move(choices_); }

 private:
  const CompiledModel& model_;
  const TuneOptions& options_;
  TimingCache& cache_;
  std::unique_ptr<DeviceContext> device_;
  const std::unordered_map<const Node*, size_t> numbers_;
  size_t done_ = 0;
  KernelChoices choices_;
};

}  // namespace

KernelChoices tune(const CompiledModel& model, const TuneOptions& options, TimingCache& cache) {
  std::vector<SymbolBindings> sizes;
  for (const Profile& profile : options.profiles) sizes.push_back(bind_profile(*model.graph, profile, &SizeRange::opt));
  Tuner tuner(model, options, cache);
  tuner.visit(*model.graph, sizes);
  return tuner.take();
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
