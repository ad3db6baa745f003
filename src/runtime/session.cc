#include "runtime/session.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <new>
#include <set>

#include "base/error.h"
#include "runtime/object_io.h"

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

// "input_ids i64[8, 128]"
std::string describe_sizes(std::span<const Input> inputs) {
  std::string text;
  for (const Input& input : inputs)
    text +=
        fmt::format("{}{} {}{}", text.empty() ? "" : ", ", input.name, to_string(input.dtype), to_string(input.dims));
  return text.empty() ? "a run" : text;
}

std::unique_ptr<DeviceContext> make_device(const CompiledModel& model, const SessionOptions& options) {
  const ContextOptions context{.threads = checked_threads(options.threads), .recording = options.graphs};
  std::unique_ptr<DeviceContext> device = model.backend->make_context(context);
  if (!device->host_memory()) device->set_host(model.fallbacks.front()->make_context(context));
  return device;
}

}  // namespace

Session::Impl::Impl(std::shared_ptr<const Engine> session_engine, const SessionOptions& options)
    : engine(std::move(session_engine)),
      device(make_device(engine->impl().model, options)),
      bindings(engine->outputs().size()),
      input_refs_(engine->inputs().size()),
      output_refs_(engine->outputs().size()),
      input_memory_(engine->inputs().size()),
      on_host_(engine->inputs().size()),
      input_objects_(engine->inputs().size()),
      known_dims_(engine->outputs().size()),
      outputs_(engine->outputs().size()) {
  for (size_t i = 0; i < outputs_.size(); ++i) outputs_[i].name = engine->outputs()[i].name;
  restore();
}

Session::Impl::~Impl() {
  if (executor != nullptr) engine->impl().end_use(false);
}

void Session::Impl::evict() {
  if (executor == nullptr) return;
  executor.reset();
  stream.reset();
  io.reset();
  engine->impl().end_use(true);
}

void Session::Impl::restore() {
  if (executor != nullptr) return;
  Engine::Impl& shared = engine->impl();
  shared.begin_use();
  try {
    if (!device->host_memory())
      io = std::make_unique<DeviceIo>(*device, engine->inputs().size(), engine->outputs().size());
    if (shared.weights.streams()) stream = shared.weights.make_stream(*device);
    const auto weights = stream != nullptr ? stream->addresses() : shared.weights.addresses();
    executor = std::make_unique<Executor>(*shared.model.graph, shared.model.program, weights, *device, stream.get());
    reserve_for_profiles();
  } catch (...) {
    executor.reset();
    stream.reset();
    io.reset();
    shared.end_use(true);
    throw;
  }
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
    try {
      executor->reserve(refs);
    } catch (const Error& error) {
      // The plan may have been made on a larger device: what fits runs all the same.
      if (error.code() != ErrorCode::out_of_memory) throw;
    }
  }
}

// `guess` is where it is if the caller keeps to the model's order.
size_t Session::Impl::index_of_input(std::string_view name, size_t guess) const {
  const auto& wanted = engine->inputs();
  if (guess < wanted.size() && wanted[guess].name == name) return guess;
  const auto found =
      std::find_if(wanted.begin(), wanted.end(), [&](const TensorInfo& info) { return info.name == name; });
  if (found != wanted.end()) return static_cast<size_t>(found - wanted.begin());
  std::string names;
  for (const TensorInfo& info : wanted) names += (names.empty() ? "" : ", ") + info.name;
  throw Error(ErrorCode::invalid_argument, fmt::format("the model has no input '{}'", name))
      .remedy("Its inputs are: " + names);
}

void Session::Impl::match_inputs(std::span<const Input> inputs) {
  const auto& wanted = engine->inputs();
  for (TensorRef& ref : input_refs_) ref.present = false;
  size_t next = 0;
  for (const Input& input : inputs) {
    const size_t index = index_of_input(input.name, next);
    next = index + 1;
    TensorRef& ref = input_refs_[index];
    if (ref.present) fail(ErrorCode::invalid_argument, "input '{}' is given twice", input.name);
    const Type& type = engine->impl().model.graph->inputs()[index]->type();
    if (is_object(type)) {
      input_objects_[index] = to_object(input, type);
      ref = {nullptr, type.dtype, input.dims, true, input_objects_[index].get()};
      continue;
    }
    check_tensor(input, input.name);
    if (wanted[index].state && io != nullptr && input.memory == Memory::host && element_count(input.dims) > 0)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("input '{}' is updated in place by the run, but lies in memory of the host", input.name))
          .remedy("Give memory of the session's device, as Memory::device");
    // Steps write to their outputs, and to inputs that are state.
    const void* host = input.memory == Memory::host ? input.data : nullptr;
    ref = {const_cast<void*>(input.data), input.dtype, input.dims, true, nullptr, host};
    input_memory_[index] = input.memory;
  }
  for (size_t i = 0; i < wanted.size(); ++i)
    if (!input_refs_[i].present) fail(ErrorCode::invalid_argument, "input '{}' is missing", wanted[i].name);
}

void Session::Impl::upload_inputs() {
  if (io == nullptr) return;
  for (size_t i = 0; i < input_refs_.size(); ++i) {
    const bool on_host = input_memory_[i] == Memory::host && input_refs_[i].object == nullptr;
    on_host_[i] = on_host ? &input_refs_[i] : nullptr;
  }
  io->upload(on_host_);
}

bool Session::Impl::written_in_place(size_t output) const {
  const Binding& binding = bindings[output];
  return binding.memory != nullptr && (io == nullptr || binding.where == Memory::device);
}

void Session::Impl::mark(RunTimer::Mark mark) const {
  if (timer != nullptr) timer->clock->mark(mark);
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
  bool any = false;
  for (size_t i = 0; i < bindings.size(); ++i) any |= written_in_place(i);
  if (!any) return;
  executor->output_dims(input_refs_, known_dims_);
  for (size_t i = 0; i < bindings.size(); ++i)
    if (written_in_place(i) && known_dims_[i] != nullptr) output_refs_[i].data = bind_memory(i, *known_dims_[i]);
}

// Brings an output to where the caller finds it: bound memory, or the session's.
void Session::Impl::deliver(size_t output) {
  const TensorRef& made = output_refs_[output];
  Output& out = outputs_[output];
  if (made.object != nullptr) return show_object(made.object, out);
  const bool in_place = written_in_place(output);
  void* const bound = bindings[output].memory == nullptr ? nullptr : bind_memory(output, made.dims);
  out.dtype = made.dtype;
  out.dims = made.dims;
  out.data = made.data;
  out.memory = in_place ? bindings[output].where : Memory::host;
  if (io != nullptr && made.data != nullptr && !in_place) {
    out.data = io->download(output, made, bound);
  } else if (bound != nullptr && bound != made.data) {  // its sizes came with the run
    device->copy(bound, made.data, storage_bytes(made.dtype, element_count(made.dims)));
    device->synchronize();
    out.data = bound;
  }
}

std::span<const Output> Session::Impl::run(std::span<const Input> inputs) try {
  restore();
  match_inputs(inputs);
  check_bindings();
  device->begin_run();
  if (timer != nullptr) timer->begun = std::chrono::steady_clock::now();
  mark(RunTimer::start);
  upload_inputs();
  mark(RunTimer::uploaded);
  executor->enqueue(input_refs_, output_refs_, observer);
  mark(RunTimer::computed);
  if (timer != nullptr) timer->enqueued = std::chrono::steady_clock::now();
  for (size_t i = 0; i < outputs_.size(); ++i) deliver(i);
  device->synchronize();
  mark(RunTimer::downloaded);
  return outputs_;
} catch (const std::bad_alloc&) {
  fail(ErrorCode::out_of_memory, "there is not enough memory for {}", describe_sizes(inputs));
} catch (const Error& error) {
  if (error.code() != ErrorCode::out_of_memory) throw;
  Error larger(error.code(),
               fmt::format("there is not enough memory for {}: {}", describe_sizes(inputs), error.message()));
  if (!error.node().empty()) larger.in_node(error.node(), error.op());
  throw larger.remedy(error.remedy_text());
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
void Session::evict() { impl_->evict(); }
void Session::restore() { impl_->restore(); }

void Session::bind_output(std::string_view name, void* memory, size_t bytes, Memory where) {
  const auto& outputs = engine().outputs();
  const auto found =
      std::find_if(outputs.begin(), outputs.end(), [&](const TensorInfo& info) { return info.name == name; });
  if (found == outputs.end()) fail(ErrorCode::invalid_argument, "the model has no output '{}'", name);
  const auto index = static_cast<size_t>(found - outputs.begin());
  const Type& type = impl_->engine->impl().model.graph->outputs()[index]->type();
  if (memory != nullptr && is_object(type))
    fail(ErrorCode::invalid_argument, "output '{}' is {}, and only tensors of numbers can be bound", name,
         lathe::to_string(type));
  impl_->bindings[index] = {memory, bytes, where};
}

Input Input::sequence(std::string_view name, std::vector<Input> tensors) {
  Input input(name, tensors.empty() ? DType::f32 : tensors.front().dtype, {}, nullptr);
  input.kind = ValueKind::sequence;
  input.tensors = std::move(tensors);
  return input;
}

Input Input::nothing(std::string_view name) {
  Input input(name, DType::f32, {}, nullptr);
  input.kind = ValueKind::nothing;
  return input;
}

int64_t Output::elements() const { return element_count(dims); }

void Output::check_type(DType wanted) const {
  if (kind != ValueKind::tensor)
    fail(ErrorCode::invalid_argument, "output '{}' is {}, not a tensor", name,
         kind == ValueKind::sequence ? "a sequence" : "nothing");
  if (memory != Memory::host)
    fail(ErrorCode::invalid_argument, "output '{}' is on the device; read it with the device's own means", name);
  if (wanted != dtype)
    fail(ErrorCode::invalid_argument, "output '{}' is {}, not {}", name, to_string(dtype), to_string(wanted));
}

}  // namespace lathe
