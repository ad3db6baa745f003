#include "build/tuner.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>
#include <random>

#include "base/error.h"
#include "graph/hash.h"

namespace lathe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMinRuns = 5;
constexpr auto kTimePerKernel = std::chrono::milliseconds(10);

SymbolBindings bind_profile(const Graph& graph, const Profile& profile) {
  SymbolBindings symbols;
  for (const auto& [name, range] : profile) {
    const auto inputs = graph.inputs();
    const auto found =
        std::find_if(inputs.begin(), inputs.end(), [&wanted = name](const Value* v) { return v->name() == wanted; });
    if (found == inputs.end())
      fail(ErrorCode::invalid_argument, "the profile names an input '{}' that the model does not have", name);
    const Shape& shape = (*found)->shape();
    if (shape.size() != range.opt.size())
      fail(ErrorCode::invalid_argument, "input '{}' has shape {}, the profile gives {}", name, to_string(shape),
           to_string(range.opt));
    for (size_t axis = 0; axis < shape.size(); ++axis)
      if (shape[axis].is_symbol() && !symbols.find(shape[axis].to_string()))
        symbols.bind(shape[axis].to_string(), range.opt[axis]);
  }
  return symbols;
}

// The operands and results of one node with memory behind them: weights as they are, floats made up, the rest zero.
class Bench {
 public:
  Bench(const Node& node, const Backend& backend, const SymbolBindings& symbols, DeviceContext& device)
      : node_(node), backend_(backend), symbols_(symbols), device_(device) {}
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
    if (lowered.step == nullptr) return 0;
    for (size_t i = 0; i < inputs_.size(); ++i)
      if (inputs_[i].present)
        inputs_[i].data = operand(i, i < lowered.operand_layouts.size() ? lowered.operand_layouts[i] : WeightLayout{});
    for (TensorRef& output : outputs_) output.data = allocate(storage_bytes(output.dtype, output.elements()));
    const StepIo io{inputs_, outputs_, &symbols_, device_.threads(), nullptr};
    const auto state = lowered.step->prepare(io);
    void* workspace = allocate(lowered.step->workspace_bytes(io));
    const auto run = [&] {
      const auto start = Clock::now();
      lowered.step->run(io, state.get(), workspace, device_);
      device_.synchronize();
      return Clock::now() - start;
    };
    run();  // the first run pays for cold caches and sleeping threads
    std::vector<Clock::duration> times;
    for (const auto end = Clock::now() + kTimePerKernel; times.size() < kMinRuns || Clock::now() < end;)
      times.push_back(run());
    std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
    return std::chrono::duration<double, std::micro>(times[times.size() / 2]).count();
  }

 private:
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

  void* operand(size_t i, const WeightLayout& layout) {
    const Node* producer = node_.input(i)->producer();
    if (producer != nullptr && producer->is<Constant>()) {
      const Tensor& value = producer->as<Constant>()->value;
      if (layout.plain()) return upload(value.bytes());
      std::vector<std::byte> packed(backend_.packed_bytes(layout, value.dtype(), value.dims()));
      backend_.pack(layout, value, packed);
      return upload(packed);
    }
    Tensor made_up(inputs_[i].dtype, {inputs_[i].dims.begin(), inputs_[i].dims.end()});
    if (made_up.dtype() == DType::f32) {
      std::minstd_rand random;
      for (float& x : made_up.mutable_as<float>()) x = static_cast<float>(random() % 2001) / 1000.0f - 1.0f;
    }
    return upload(made_up.bytes());
  }

  void* upload(std::span<const std::byte> bytes) {
    void* memory = allocate(bytes.size());
    device_.upload(memory, bytes);
    return memory;
  }

  const Node& node_;
  const Backend& backend_;
  const SymbolBindings& symbols_;
  DeviceContext& device_;
  std::vector<std::vector<int64_t>> dims_;
  std::vector<TensorRef> inputs_, outputs_;
  std::vector<void*> memory_;
};

// The kernel to take, or nullopt to leave it to the backend's order.
std::optional<std::string> choose(const Node& node, const Backend& backend, const SymbolBindings& symbols,
                                  DeviceContext& device, TimingCache& cache) {
  std::vector<Candidate> candidates = backend.candidates(node);
  std::erase_if(candidates, [](const Candidate& c) { return !c.declined.empty(); });
  if (candidates.size() < 2) return std::nullopt;
  Bench bench(node, backend, symbols, device);
  if (!bench.evaluate_sizes()) return std::nullopt;
  const std::string key = bench.key();
  const Candidate* best = nullptr;
  double best_time = std::numeric_limits<double>::infinity();
  for (const Candidate& candidate : candidates) {
    const TimingCache::Times* known = cache.find(key);
    if (known == nullptr || !known->contains(candidate.kernel))
      cache.insert(key, candidate.kernel, bench.microseconds(candidate));
    const double time = cache.find(key)->at(candidate.kernel);
    // A later candidate must be better by the margin.
    if (time * (best == nullptr ? 1.0 : 1.0 + kTuneMargin) < best_time) {
      best = &candidate;
      best_time = time;
    }
  }
  return best == nullptr ? std::nullopt : std::optional(best->kernel);
}

}  // namespace

KernelChoices tune(const Graph& graph, const Backend& backend, const TuneOptions& options, TimingCache& cache) {
  const SymbolBindings symbols = bind_profile(graph, options.profile);
  const auto device = backend.make_context({.threads = options.threads});
  KernelChoices choices;
  size_t index = 0;
  for (const auto& node : graph.nodes()) {
    if (const auto kernel = choose(*node, backend, symbols, *device, cache)) choices[index] = *kernel;
    ++index;
    if (options.progress) options.progress(index, graph.num_nodes());
  }
  return choices;
}

}  // namespace lathe
