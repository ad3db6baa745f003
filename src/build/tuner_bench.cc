#include "build/tuner_bench.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "base/error.h"
#include "graph/hash.h"

namespace lathe {
namespace {

constexpr size_t kMinRuns = 3;
constexpr int kQueuedRuns = 20;  // the most
constexpr size_t kBeyondCaches = size_t{128} << 20;
// For each kernel. A device that works while the host goes on runs it as often between two looks at the clock as fit
// into its time, so that launching it and waiting for it do not count.
constexpr auto kTimePerKernel = std::chrono::milliseconds(10), kTimeOfQueued = std::chrono::milliseconds(4);

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

}  // namespace

TunerBench::~TunerBench() {
  for (void* memory : memory_) device_.release(memory);
}

// Kernels for sizes that are settled may differ from those of the same name that take any.
bool TunerBench::has_open_sizes() const {
  const auto is_open = [](const Value* value) {
    return value != nullptr &&
           !std::all_of(value->shape().begin(), value->shape().end(), [](const Dim& dim) { return dim.is_constant(); });
  };
  return std::any_of(node_.inputs().begin(), node_.inputs().end(), is_open) ||
         std::any_of(node_.outputs().begin(), node_.outputs().end(), is_open);
}

std::string TunerBench::key() const {
  std::string key = fmt::format("{}#{:016x}{}", op_name(node_.op()), hash(node_.op()), has_open_sizes() ? " open" : "");
  for (const TensorRef& ref : inputs_)
    key += ref.present ? fmt::format(" {}{}", to_string(ref.dtype), to_string(ref.dims)) : " _";
  return fmt::format("{} on {}/{} with {} threads", key, backend_.name(), backend_.target(), device_.threads());
}

double TunerBench::microseconds(const Candidate& candidate) {
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
  const auto enqueue = [&](int repeats) {
    for (int i = 0; i < repeats; ++i) {
      take_copies(i);
      lowered.step->run(io, state.get(), workspace, device_);
    }
  };
  const auto once = [&] { enqueue(1); };
  time_of(once);  // the first run pays for cold caches and sleeping threads
  if (device_.host_memory()) return median_time(once, kTimePerKernel);
  const double expected = time_of(once), enough = std::chrono::duration<double, std::micro>(kTimeOfQueued).count();
  const int repeats = static_cast<int>(std::clamp(enough / std::max(expected, 1.0), 1.0, double{kQueuedRuns}));
  if (!device_.can_record() || !lowered.step->recordable())
    return median_time([&] { enqueue(repeats); }, kTimeOfQueued) / repeats;
  device_.begin_recording();
  enqueue(repeats);
  const auto recording = device_.end_recording();
  return median_time([&] { device_.replay(*recording); }, kTimeOfQueued) / repeats;
}

template <class Run>
double TunerBench::time_of(const Run& run) {
  const auto start = Clock::now();
  run();
  device_.synchronize();
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

template <class Run>
double TunerBench::median_time(const Run& run, Clock::duration at_least) {
  std::vector<double> times;
  for (const auto end = Clock::now() + at_least; times.size() < kMinRuns || Clock::now() < end;)
    times.push_back(time_of(run));
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

bool TunerBench::evaluate(std::span<Value* const> values, std::vector<TensorRef>& refs) {
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

void* TunerBench::allocate(size_t bytes) {
  memory_.push_back(device_.allocate(std::max<size_t>(bytes, 1)));
  return memory_.back();
}

void TunerBench::take_copies(int run) {
  for (size_t i = 0; i < inputs_.size(); ++i)
    if (inputs_[i].present) inputs_[i].data = copies_[i][static_cast<size_t>(run) % copies_[i].size()];
}

std::vector<void*> TunerBench::operand(size_t i, const WeightLayout& layout) {
  for (const Operand& known : operands_)
    if (known.input == i && known.layout == layout) return known.copies;
  operands_.push_back({i, layout, make_operand(i, layout)});
  return operands_.back().copies;
}

std::vector<void*> TunerBench::make_operand(size_t i, const WeightLayout& layout) {
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
std::vector<void*> TunerBench::upload_copies(std::span<const std::byte> bytes) {
  std::vector<void*> copies = {upload(bytes)};
  if (device_.host_memory() || bytes.empty()) return copies;
  const size_t count = std::min<size_t>(kBeyondCaches / bytes.size(), kQueuedRuns);
  while (copies.size() < count) {
    copies.push_back(allocate(bytes.size()));
    device_.copy(copies.back(), copies.front(), bytes.size());
  }
  return copies;
}

void* TunerBench::upload(std::span<const std::byte> bytes) {
  void* memory = allocate(bytes.size());
  device_.upload(memory, bytes);
  return memory;
}

}  // namespace lathe
