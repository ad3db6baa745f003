#include "runtime/session.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <new>
#include <set>

#include "base/error.h"

namespace lathe {

int default_thread_count() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return 1;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream file(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
    std::string siblings;
    if (!std::getline(file, siblings)) siblings = std::to_string(cpu);
    cores.insert(siblings);
  }
  return std::max<int>(1, static_cast<int>(cores.size()));
}

namespace {

int checked_threads(int threads) {
  constexpr int kMaxThreads = 4096;
  if (threads < 0 || threads > kMaxThreads)
    fail(ErrorCode::invalid_argument, "{} threads are not possible; 0 to {} are", threads, kMaxThreads);
  return threads > 0 ? threads : default_thread_count();
}

std::unique_ptr<DeviceContext> make_device(const CompiledModel& model, const SessionOptions& options) {
  const ContextOptions context{.threads = checked_threads(options.threads)};
  std::unique_ptr<DeviceContext> device = model.backend->make_context(context);
  if (!device->host_memory()) device->set_host(model.fallbacks.front()->make_context(context));
  return device;
}

}  // namespace

Session::Impl::Impl(std::shared_ptr<const Engine> session_engine, const SessionOptions& options)
    : engine(std::move(session_engine)),
      device(make_device(engine->impl().model, options)),
      io(device->host_memory()
             ? nullptr
             : std::make_unique<DeviceIo>(*device, engine->inputs().size(), engine->outputs().size())),
      executor(*engine->impl().model.graph, engine->impl().model.program, engine->impl().weights.addresses(), *device),
      bindings(engine->outputs().size()),
      input_refs_(engine->inputs().size()),
      output_refs_(engine->outputs().size()),
      known_dims_(engine->outputs().size()),
      outputs_(engine->outputs().size()) {
  for (size_t i = 0; i < outputs_.size(); ++i) outputs_[i].name = engine->outputs()[i].name;
  reserve_for_profiles();
}

void Session::Impl::reserve_for_profiles() {
  if (engine->impl().plan == nullptr) return;
  const Graph& graph = *engine->impl().model.graph;
  for (const Profile& profile : engine->impl().plan->info().profiles) {
    const auto largest = input_sizes(graph, profile, &SizeRange::max);
    if (!largest) continue;
    std::vector<TensorRef> refs;
    for (size_t i = 0; i < largest->size(); ++i)
      refs.push_back({nullptr, graph.inputs()[i]->dtype(), (*largest)[i], true, nullptr});
    executor.reserve(refs);
  }
}

void Session::Impl::match_inputs(std::span<const Input> inputs) {
  const auto& wanted = engine->inputs();
  for (TensorRef& ref : input_refs_) ref.present = false;
  for (const Input& input : inputs) {
    const auto found =
        std::find_if(wanted.begin(), wanted.end(), [&](const TensorInfo& info) { return info.name == input.name; });
    if (found == wanted.end()) {
      std::string names;
      for (const TensorInfo& info : wanted) names += (names.empty() ? "" : ", ") + info.name;
      throw Error(ErrorCode::invalid_argument, fmt::format("the model has no input '{}'", input.name))
          .remedy("Its inputs are: " + names);
    }
    TensorRef& ref = input_refs_[static_cast<size_t>(found - wanted.begin())];
    if (ref.present) fail(ErrorCode::invalid_argument, "input '{}' is given twice", input.name);
    if (std::any_of(input.dims.begin(), input.dims.end(), [](int64_t size) { return size < 0; }))
      fail(ErrorCode::invalid_argument, "input '{}' has a negative size: {}", input.name, to_string(input.dims));
    const int64_t elements = element_count(input.dims);
    if (input.count >= 0 && input.count != elements)
      fail(ErrorCode::invalid_argument, "input '{}' has {} elements, its sizes {} say {}", input.name, input.count,
           to_string(input.dims), elements);
    if (input.data == nullptr && elements > 0)
      fail(ErrorCode::invalid_argument, "input '{}' of shape {} has no data", input.name, to_string(input.dims));
    // Inputs are only read: steps write to their outputs.
    ref = {const_cast<void*>(input.data), input.dtype, input.dims, true, nullptr};
  }
  for (size_t i = 0; i < wanted.size(); ++i)
    if (!input_refs_[i].present) fail(ErrorCode::invalid_argument, "input '{}' is missing", wanted[i].name);
}

// The bound memory of an output, if these sizes fit into it.
void* Session::Impl::bind_memory(size_t output, std::span<const int64_t> dims) const {
  const Binding& binding = bindings[output];
  const size_t needed = storage_bytes(engine->outputs()[output].dtype, element_count(dims));
  if (needed > binding.bytes)
    fail(ErrorCode::invalid_argument, "output '{}' of shape {} needs {} bytes, {} are bound", outputs_[output].name,
         to_string(dims), needed, binding.bytes);
  return binding.memory;
}

void Session::Impl::check_bindings() {
  for (TensorRef& ref : output_refs_) ref = {};
  if (io != nullptr) return;  // outputs stay on the device until the run is over
  if (std::none_of(bindings.begin(), bindings.end(), [](const Binding& b) { return b.memory != nullptr; })) return;
  executor.output_dims(input_refs_, known_dims_);
  for (size_t i = 0; i < bindings.size(); ++i)
    if (bindings[i].memory != nullptr && known_dims_[i] != nullptr)
      output_refs_[i].data = bind_memory(i, *known_dims_[i]);
}

// Where the caller finds an output: in bound memory, or in the session's.
void* Session::Impl::deliver(size_t output, const TensorRef& made) {
  void* bound = bindings[output].memory == nullptr ? nullptr : bind_memory(output, made.dims);
  if (io != nullptr && made.data != nullptr) return io->download(output, made, bound);
  if (bound == nullptr || bound == made.data) return made.data;
  device->copy(bound, made.data, storage_bytes(made.dtype, element_count(made.dims)));  // its sizes came with the run
  return bound;
}

std::span<const Output> Session::Impl::run(std::span<const Input> inputs) try {
  match_inputs(inputs);
  check_bindings();
  device->begin_run();
  if (io != nullptr) io->upload(input_refs_);
  executor.run(input_refs_, output_refs_, observer);
  for (size_t i = 0; i < outputs_.size(); ++i) {
    outputs_[i].dtype = output_refs_[i].dtype;
    outputs_[i].dims = output_refs_[i].dims;
    outputs_[i].data = deliver(i, output_refs_[i]);
  }
  return outputs_;
} catch (const std::bad_alloc&) {
  fail(ErrorCode::out_of_memory, "there is not enough memory for these input sizes");
}

Session Session::open(const std::string& path, const SessionOptions& options, const EngineOptions& engine) {
  return Session(Engine::open(path, engine), options);
}
Session::Session(std::shared_ptr<const Engine> engine, const SessionOptions& options)
    : impl_(std::make_unique<Impl>(std::move(engine), options)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

const Engine& Session::engine() const { return *impl_->engine; }
std::span<const Output> Session::run(std::span<const Input> inputs) { return impl_->run(inputs); }

void Session::bind_output(std::string_view name, void* memory, size_t bytes) {
  const auto& outputs = engine().outputs();
  const auto found =
      std::find_if(outputs.begin(), outputs.end(), [&](const TensorInfo& info) { return info.name == name; });
  if (found == outputs.end()) fail(ErrorCode::invalid_argument, "the model has no output '{}'", name);
  impl_->bindings[static_cast<size_t>(found - outputs.begin())] = {memory, bytes};
}

int64_t Output::elements() const { return element_count(dims); }

void Output::check_type(DType wanted) const {
  if (wanted != dtype)
    fail(ErrorCode::invalid_argument, "output '{}' is {}, not {}", name, to_string(dtype), to_string(wanted));
}

}  // namespace lathe
