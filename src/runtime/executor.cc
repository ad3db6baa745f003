#include "runtime/executor.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "graph/reference/evaluator.h"
#include "graph/symbols.h"

namespace lathe {
namespace {

constexpr size_t kMaxPrepared = 64;
constexpr size_t kNotInArena = std::numeric_limits<size_t>::max();

size_t bytes_of(const Type& type, std::span<const int64_t> dims) {
  return storage_bytes(type.dtype, element_count(dims));
}

// An alias reads the memory of another value under its own sizes: both must have the same number of elements.
void check_view(const std::vector<int64_t>& available, const std::vector<int64_t>& wanted) {
  if (element_count(available) != element_count(wanted))
    fail(ErrorCode::invalid_argument, "{} cannot be viewed as {}", to_string(available), to_string(wanted));
}

// Sequences, optionals and tensors of strings have no memory of their own: they travel as objects.
bool is_object(const Type& type) { return !type.is_tensor() || type.dtype == DType::string; }

const Tensor& string_tensor(const void* object) { return std::get<Tensor>(*static_cast<const RefValue*>(object)); }

constexpr Cost kUnknownCost = {std::numeric_limits<double>::infinity(), 0};  // of a step that is sized while it runs

Cost cost_of_step(const ProgramStep& step, const StepIo& io) {
  const auto sized = [](std::span<const TensorRef> refs) {
    std::vector<SizedType> types;
    for (const TensorRef& ref : refs) types.push_back({ref.dtype, ref.dims, ref.present});
    return types;
  };
  return cost_of(step.node->op(), sized(io.inputs), sized(io.outputs));
}

}  // namespace

struct Executor::Buffer {
  void* memory = nullptr;
  size_t capacity = 0;
  std::vector<int64_t> dims;
  std::shared_ptr<const void> object;
};

struct Executor::PreparedStep {
  std::vector<TensorRef> inputs, outputs;
  std::unique_ptr<StepState> state;
  size_t workspace_bytes = 0, workspace_offset = 0;
  Cost cost;
  bool late = false;  // an operand or result without known sizes, or the op mentions a symbol that inputs do not bind
};

struct Executor::Prepared {
  std::vector<int64_t> key;  // of every input its rank and its sizes, one after the other
  SymbolBindings symbols;
  size_t input_symbols = 0;                // symbols.mark() after binding the inputs
  std::vector<std::vector<int64_t>> dims;  // by value
  std::vector<bool> known;                 // by value: dims holds its sizes before the run starts
  std::vector<size_t> offsets;             // by value; kNotInArena for all but the roots that live there
  std::vector<PreparedStep> steps;
  Footprint footprint;
};

// Hands a late step memory for the outputs that it sizes itself.
class Executor::LateAllocator : public OutputAllocator {
 public:
  LateAllocator(Executor& executor, const ProgramStep& step) : executor_(executor), step_(step) {}

  void* allocate(size_t output, DType dtype, std::span<const int64_t> dims) override {
    Buffer& buffer = executor_.late_[static_cast<size_t>(step_.outputs.at(output))];
    buffer.dims.assign(dims.begin(), dims.end());
    return executor_.reserve(buffer, storage_bytes(dtype, element_count(dims)));
  }
  void set_object(size_t output, std::shared_ptr<const void> object) override {
    executor_.late_[static_cast<size_t>(step_.outputs.at(output))].object = std::move(object);
  }

 private:
  Executor& executor_;
  const ProgramStep& step_;
};

Executor::Executor(const Graph& graph, const Program& program, std::span<void* const> weights, DeviceContext& device)
    : graph_(graph),
      program_(program),
      weights_(weights),
      device_(device),
      input_of_root_(program.values.size(), -1),
      output_of_root_(program.values.size(), -1),
      pointers_(program.values.size(), nullptr),
      late_(program.values.size()),
      own_outputs_(program.outputs.size()),
      arena_(std::make_unique<Buffer>()),
      late_workspace_(std::make_unique<Buffer>()) {
  for (size_t i = 0; i < program.inputs.size(); ++i)
    input_of_root_[static_cast<size_t>(program.inputs[i])] = static_cast<int>(i);
  for (size_t v = 0; v < program.values.size(); ++v) {
    const ProgramValue& value = program.values[v];
    if (value.weight < 0 || value.value->dtype() != DType::string) continue;
    const Tensor& strings = value.value->producer()->as<Constant>()->value;
    late_[v].object = std::make_shared<const RefValue>(strings);
    late_[v].dims = strings.dims();
  }
  for (const ProgramStep& step : program.steps) collect_symbols(step.node->op(), mentioned_.emplace_back());
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    const auto root = static_cast<size_t>(program.values[static_cast<size_t>(program.outputs[i])].root);
    const bool own_memory = input_of_root_[root] < 0 && program.values[root].weight < 0;
    if (own_memory && output_of_root_[root] < 0) output_of_root_[root] = static_cast<int>(i);
  }
}

Executor::~Executor() {
  const auto release = [this](Buffer& buffer) {
    if (buffer.memory != nullptr) device_.release(buffer.memory);
  };
  std::for_each(late_.begin(), late_.end(), release);
  std::for_each(own_outputs_.begin(), own_outputs_.end(), release);
  release(*arena_);
  release(*late_workspace_);
}

void* Executor::reserve(Buffer& buffer, size_t bytes) {
  if (buffer.capacity < bytes || buffer.memory == nullptr) {
    if (buffer.memory != nullptr) device_.release(buffer.memory);
    buffer.memory = nullptr;
    buffer.capacity = 0;
    buffer.memory = device_.allocate(std::max<size_t>(bytes, 1));
    buffer.capacity = bytes;
  }
  return buffer.memory;
}

// ---- preparing for a set of input sizes ----

Executor::Prepared& Executor::prepare(std::span<const TensorRef> inputs) {
  check_types(inputs);
  const auto matches = [&](const std::unique_ptr<Prepared>& prepared) {
    const int64_t* next = prepared->key.data();
    const int64_t* end = next + prepared->key.size();
    for (const TensorRef& input : inputs) {
      const auto rank = static_cast<int64_t>(input.dims.size());
      if (end - next <= rank || *next++ != rank || !std::equal(input.dims.begin(), input.dims.end(), next))
        return false;
      next += rank;
    }
    return next == end;
  };
  const auto found = std::find_if(cache_.begin(), cache_.end(), matches);
  if (found != cache_.end()) {
    std::rotate(cache_.begin(), found, found + 1);
  } else {
    std::unique_ptr<Prepared> made = make_prepared(inputs);
    if (cache_.size() == kMaxPrepared) cache_.pop_back();
    cache_.insert(cache_.begin(), std::move(made));
  }
  return *cache_.front();
}

// Everything about the inputs but their sizes, which belong to what is prepared; so this is checked in every run.
void Executor::check_types(std::span<const TensorRef> inputs) const {
  if (inputs.size() != graph_.inputs().size())
    fail(ErrorCode::invalid_argument, "the model takes {} inputs, {} are given", graph_.inputs().size(), inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& value = *graph_.inputs()[i];
    const Type& type = value.type();
    if (is_object(type)) {
      if (inputs[i].object == nullptr)
        fail(ErrorCode::unsupported, "input '{}' is a {}, and only plain tensors can be given", value.name(),
             lathe::to_string(type));
    } else if (inputs[i].dtype != type.dtype) {
      fail(ErrorCode::invalid_argument, "input '{}' must be {}, not {}", value.name(), to_string(type.dtype),
           to_string(inputs[i].dtype));
    } else if (type.ranked && inputs[i].dims.size() != type.shape.size()) {
      fail(ErrorCode::invalid_argument, "input '{}' must have shape {}, not {}", value.name(), to_string(type.shape),
           to_string(inputs[i].dims));
    }
  }
}

std::unique_ptr<Executor::Prepared> Executor::make_prepared(std::span<const TensorRef> inputs) const {
  auto prepared = std::make_unique<Prepared>();
  bind_inputs(*prepared, inputs);
  evaluate_sizes(*prepared, inputs);
  prepared->steps.resize(program_.steps.size());
  for (size_t s = 0; s < program_.steps.size(); ++s) {
    const Node& node = *program_.steps[s].node;
    try {
      prepare_step(*prepared, s);
    } catch (Error& error) {
      throw error.in_node(node.name(), op_name(node.op()));
    }
  }
  place_buffers(*prepared);
  return prepared;
}

// Bare symbols bind first, wherever they stand; then every size is checked against its expression.
void Executor::bind_inputs(Prepared& prepared, std::span<const TensorRef> inputs) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& value = *graph_.inputs()[i];
    const Type& type = value.type();
    if (!type.is_tensor()) continue;
    for (size_t axis = 0; axis < type.shape.size(); ++axis) {
      const Dim& dim = type.shape[axis];
      if (!dim.is_symbol()) continue;
      const std::string name = dim.to_string();
      if (!prepared.symbols.find(name)) prepared.symbols.bind(name, inputs[i].dims[axis]);
    }
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& value = *graph_.inputs()[i];
    const size_t rank = value.type().is_tensor() ? value.shape().size() : 0;
    for (size_t axis = 0; axis < rank; ++axis) {
      const int64_t expected = prepared.symbols.evaluate(value.shape()[axis]);
      if (inputs[i].dims[axis] != expected)
        fail(ErrorCode::invalid_argument, "input '{}' has size {} along axis {}, but {} = {} (model: {})", value.name(),
             inputs[i].dims[axis], axis, value.shape()[axis].to_string(), expected, to_string(value.shape()));
    }
    prepared.key.push_back(static_cast<int64_t>(inputs[i].dims.size()));
    prepared.key.insert(prepared.key.end(), inputs[i].dims.begin(), inputs[i].dims.end());
  }
  prepared.input_symbols = prepared.symbols.mark();
}

void Executor::evaluate_sizes(Prepared& prepared, std::span<const TensorRef> inputs) const {
  prepared.dims.resize(program_.values.size());
  prepared.known.assign(program_.values.size(), false);
  for (size_t v = 0; v < program_.values.size(); ++v) {
    const ProgramValue& value = program_.values[v];
    const auto root = static_cast<size_t>(value.root);
    if (is_object(value.value->type())) continue;
    if (input_of_root_[v] >= 0) {  // the rank of an input may be known only now
      const auto dims = inputs[static_cast<size_t>(input_of_root_[v])].dims;
      prepared.dims[v].assign(dims.begin(), dims.end());
      prepared.known[v] = true;
    } else if (root == v || prepared.known[root]) {
      prepared.known[v] = evaluate_shape(prepared, *value.value, prepared.dims[v]);
      if (prepared.known[v] && root != v) check_view(prepared.dims[root], prepared.dims[v]);
    }
  }
}

// False when a size depends on what is known only while running.
bool Executor::evaluate_shape(const Prepared& prepared, const Value& value, std::vector<int64_t>& dims) const {
  const Type& type = value.type();
  bool known = type.ranked;
  for (size_t axis = 0; known && axis < type.shape.size(); ++axis) {
    const std::optional<int64_t> size = prepared.symbols.try_evaluate(type.shape[axis]);
    known = size.has_value();
    if (known && *size < 0)
      fail(ErrorCode::invalid_argument,
           "value '{}' would have size {} along axis {} ({}): the input sizes do not fit this model", value.name(),
           *size, axis, type.shape[axis].to_string());
    if (known) dims.push_back(*size);
  }
  if (!known) dims.clear();
  return known;
}

void Executor::prepare_step(Prepared& prepared, size_t s) const {
  const ProgramStep& step = program_.steps[s];
  PreparedStep& target = prepared.steps[s];
  target.late = std::any_of(mentioned_[s].begin(), mentioned_[s].end(),
                            [&](const std::string& name) { return !prepared.symbols.find(name); });
  const auto refs = [&](const std::vector<int>& values, std::vector<TensorRef>& out) {
    for (const int v : values) {
      TensorRef ref;
      if (v >= 0) {
        const auto index = static_cast<size_t>(v);
        ref = {nullptr, program_.values[index].value->dtype(), prepared.dims[index], true, nullptr};
        target.late |= !prepared.known[index];
      }
      out.push_back(ref);
    }
  };
  refs(step.inputs, target.inputs);
  refs(step.outputs, target.outputs);
  if (target.late || step.step == nullptr) return;
  const StepIo io{target.inputs, target.outputs, &prepared.symbols, device_.threads(), nullptr};
  target.workspace_bytes = step.step->workspace_bytes(io);
  target.state = step.step->prepare(io);
  target.cost = cost_of_step(step, io);
}

void Executor::place_buffers(Prepared& prepared) const {
  const size_t count = program_.values.size();
  std::vector<int> first(count, -1), last(count, -1);
  for (size_t s = 0; s < program_.steps.size(); ++s) {
    const auto touch = [&](int v, std::vector<int>& step_of) {
      if (v >= 0) step_of[static_cast<size_t>(program_.values[static_cast<size_t>(v)].root)] = static_cast<int>(s);
    };
    for (const int v : program_.steps[s].outputs) {
      touch(v, first);
      touch(v, last);
    }
    for (const int v : program_.steps[s].inputs) touch(v, last);
  }
  std::vector<BufferLifetime> buffers;
  std::vector<size_t*> targets;
  prepared.offsets.assign(count, kNotInArena);
  for (size_t v = 0; v < count; ++v) {
    if (first[v] < 0) continue;
    if (!prepared.known[v]) {
      ++prepared.footprint.late_values;
    } else if (output_of_root_[v] < 0) {
      buffers.push_back({bytes_of(program_.values[v].value->type(), prepared.dims[v]), first[v], last[v]});
      targets.push_back(&prepared.offsets[v]);
      prepared.footprint.activation_bytes += buffers.back().bytes;
    }
  }
  for (size_t s = 0; s < prepared.steps.size(); ++s) {
    PreparedStep& step = prepared.steps[s];
    if (step.workspace_bytes == 0) continue;
    buffers.push_back({step.workspace_bytes, static_cast<int>(s), static_cast<int>(s)});
    targets.push_back(&step.workspace_offset);
    prepared.footprint.workspace_bytes = std::max(prepared.footprint.workspace_bytes, step.workspace_bytes);
  }
  const MemoryPlan plan = plan_memory(buffers);
  for (size_t i = 0; i < targets.size(); ++i) *targets[i] = plan.offsets[i];
  prepared.footprint.arena_bytes = plan.arena_bytes;
}

// ---- running ----

void Executor::run(std::span<const TensorRef> inputs, std::span<TensorRef> outputs, StepObserver* observer) {
  device_.begin_run();
  Prepared& prepared = prepare(inputs);
  prepared.symbols.rollback(prepared.input_symbols);
  reserve(*arena_, prepared.footprint.arena_bytes);
  assign_pointers(prepared, inputs, outputs);
  for (size_t s = 0; s < program_.steps.size(); ++s) {
    const Node& node = *program_.steps[s].node;
    try {
      if (observer != nullptr) observer->before(s);
      if (program_.steps[s].step == nullptr)
        run_bind(prepared, s);
      else if (prepared.steps[s].late)
        run_late_step(prepared, s, observer);
      else
        run_step(prepared, s, observer);
    } catch (Error& error) {
      throw error.in_node(node.name(), op_name(node.op()));
    }
  }
  finish_outputs(prepared, outputs);
  device_.synchronize();
}

void Executor::assign_pointers(const Prepared& prepared, std::span<const TensorRef> inputs,
                               std::span<TensorRef> outputs) {
  for (size_t v = 0; v < program_.values.size(); ++v) {
    const ProgramValue& value = program_.values[v];
    if (static_cast<size_t>(value.root) != v) continue;
    if (input_of_root_[v] >= 0) {
      pointers_[v] = inputs[static_cast<size_t>(input_of_root_[v])].data;
      late_[v].object = {std::shared_ptr<const void>(), inputs[static_cast<size_t>(input_of_root_[v])].object};
    } else if (value.weight >= 0) {
      pointers_[v] = weights_[static_cast<size_t>(value.weight)];
    } else if (!prepared.known[v]) {
      pointers_[v] = nullptr;
    } else if (output_of_root_[v] >= 0) {
      const auto o = static_cast<size_t>(output_of_root_[v]);
      pointers_[v] = outputs[o].data != nullptr
                         ? outputs[o].data
                         : reserve(own_outputs_[o], bytes_of(value.value->type(), prepared.dims[v]));
    } else {
      pointers_[v] =
          prepared.offsets[v] == kNotInArena ? nullptr : static_cast<std::byte*>(arena_->memory) + prepared.offsets[v];
    }
  }
}

void Executor::run_step(Prepared& prepared, size_t s, StepObserver* observer) {
  const ProgramStep& step = program_.steps[s];
  PreparedStep& target = prepared.steps[s];
  const auto fill = [&](const std::vector<int>& values, std::vector<TensorRef>& refs) {
    for (size_t i = 0; i < values.size(); ++i)
      if (values[i] >= 0)
        refs[i].data = pointers_[static_cast<size_t>(program_.values[static_cast<size_t>(values[i])].root)];
  };
  fill(step.inputs, target.inputs);
  fill(step.outputs, target.outputs);
  const StepIo io{target.inputs, target.outputs, &prepared.symbols, device_.threads(), nullptr};
  void* workspace =
      target.workspace_bytes == 0 ? nullptr : static_cast<std::byte*>(arena_->memory) + target.workspace_offset;
  device_.announce(target.cost);
  step.step->run(io, target.state.get(), workspace, device_);
  if (observer != nullptr) observer->after(s, io);
}

// Sizes of a value during the run: known ones, those of a late buffer, or an alias evaluated with the symbols bound by
// now.
std::vector<int64_t> Executor::sizes_of(const Prepared& prepared, int value) const {
  const auto v = static_cast<size_t>(value);
  if (prepared.known[v]) return prepared.dims[v];
  const ProgramValue& entry = program_.values[v];
  if (static_cast<size_t>(entry.root) == v) return late_[v].dims;
  std::vector<int64_t> dims = prepared.symbols.evaluate(entry.value->shape());
  const auto root = static_cast<size_t>(entry.root);
  check_view(prepared.known[root] ? prepared.dims[root] : late_[root].dims, dims);
  return dims;
}

void Executor::run_late_step(Prepared& prepared, size_t s, StepObserver* observer) {
  const ProgramStep& step = program_.steps[s];
  PreparedStep& target = prepared.steps[s];
  std::vector<std::vector<int64_t>> dims;
  dims.reserve(step.inputs.size() + step.outputs.size());  // spans point into it
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (step.inputs[i] < 0) continue;
    const auto root = static_cast<size_t>(program_.values[static_cast<size_t>(step.inputs[i])].root);
    target.inputs[i].data = pointers_[root];
    target.inputs[i].object = late_[root].object.get();
    target.inputs[i].dims = dims.emplace_back(sizes_of(prepared, step.inputs[i]));
  }
  for (size_t o = 0; o < step.outputs.size(); ++o) {
    const auto v = static_cast<size_t>(step.outputs[o]);
    const Value& value = *program_.values[v].value;
    target.outputs[o].data = prepared.known[v] ? pointers_[v] : nullptr;
    if (prepared.known[v] || is_object(value.type())) continue;
    std::vector<int64_t>& sizes = late_[v].dims;
    sizes.clear();
    if (!evaluate_shape(prepared, value, sizes)) continue;
    target.outputs[o].dims = dims.emplace_back(sizes);
    target.outputs[o].data = reserve(late_[v], bytes_of(value.type(), sizes));
  }
  LateAllocator allocator(*this, step);
  StepIo io{target.inputs, target.outputs, &prepared.symbols, device_.threads(), &allocator};
  const bool sized =
      std::all_of(target.outputs.begin(), target.outputs.end(), [](const TensorRef& r) { return r.data != nullptr; });
  const std::unique_ptr<StepState> state = sized ? step.step->prepare(io) : nullptr;
  void* workspace = sized ? reserve(*late_workspace_, step.step->workspace_bytes(io)) : nullptr;
  device_.announce(kUnknownCost);
  step.step->run(io, state.get(), workspace, device_);
  for (size_t o = 0; o < step.outputs.size(); ++o) {
    const auto v = static_cast<size_t>(step.outputs[o]);
    if (prepared.known[v]) continue;
    adopt_late_output(prepared, step.outputs[o]);
    target.outputs[o].data = late_[v].memory;
    target.outputs[o].dims = late_[v].dims;
    target.outputs[o].object = late_[v].object.get();
  }
  if (observer != nullptr) observer->after(s, io);
}

// A late output now has sizes: symbols that stand bare in its type are bound to them, the other sizes must agree.
void Executor::adopt_late_output(Prepared& prepared, int value) {
  const auto v = static_cast<size_t>(value);
  const Type& type = program_.values[v].value->type();
  pointers_[v] = late_[v].memory;
  if (!type.is_tensor()) return;
  if (type.dtype == DType::string) late_[v].dims = string_tensor(late_[v].object.get()).dims();
  if (!type.ranked) return;
  LATHE_CHECK(late_[v].dims.size() == type.shape.size());
  for (size_t axis = 0; axis < type.shape.size(); ++axis) {
    const Dim& dim = type.shape[axis];
    const int64_t size = late_[v].dims[axis];
    const std::string name = dim.is_symbol() ? dim.to_string() : std::string();
    if (!name.empty() && !prepared.symbols.find(name))
      prepared.symbols.bind(name, size);
    else if (prepared.symbols.evaluate(dim) != size)
      fail(ErrorCode::invalid_argument, "value '{}' has size {} along axis {}, expected {}",
           program_.values[v].value->name(), size, axis, dim.to_string());
  }
}

void Executor::run_bind(Prepared& prepared, size_t s) {
  const ProgramStep& step = program_.steps[s];
  const auto& symbols = step.node->as<Bind>()->symbols;
  const int value = step.inputs.at(0);
  const auto root = static_cast<size_t>(program_.values[static_cast<size_t>(value)].root);
  Tensor host(step.node->input(0)->dtype(), sizes_of(prepared, value));
  if (host.elements() != static_cast<int64_t>(symbols.size()))
    fail(ErrorCode::invalid_argument, "'{}' has {} elements, the model needs {}", step.node->input(0)->name(),
         host.elements(), symbols.size());
  device_.synchronize();
  device_.download(host.mutable_bytes(), pointers_[root]);
  for (size_t i = 0; i < symbols.size(); ++i) prepared.symbols.bind(symbols[i], host.read_int(static_cast<int64_t>(i)));
}

void Executor::finish_outputs(const Prepared& prepared, std::span<TensorRef> outputs) {
  for (size_t o = 0; o < outputs.size(); ++o) {
    const int value = program_.outputs[o];
    const auto v = static_cast<size_t>(value);
    const auto root = static_cast<size_t>(program_.values[v].root);
    const Type& type = program_.values[v].value->type();
    TensorRef& out = outputs[o];
    out.present = true;
    out.dtype = type.dtype;
    out.object = late_[root].object.get();
    if (prepared.known[v]) {
      out.dims = prepared.dims[v];
    } else {
      own_outputs_[o].dims = sizes_of(prepared, value);
      out.dims = own_outputs_[o].dims;
    }
    if (output_of_root_[root] == static_cast<int>(o) || is_object(type)) {
      out.data = pointers_[root];
      continue;
    }
    // An output that is an input, a weight or another output as well gets a copy.
    const size_t bytes = bytes_of(type, out.dims);
    if (out.data == nullptr) out.data = reserve(own_outputs_[o], bytes);
    device_.copy(out.data, pointers_[root], bytes);
  }
}

Executor::Footprint Executor::footprint(std::span<const TensorRef> inputs) { return prepare(inputs).footprint; }

void Executor::output_dims(std::span<const TensorRef> inputs, std::span<const std::vector<int64_t>*> dims) {
  const Prepared& prepared = prepare(inputs);
  for (size_t o = 0; o < dims.size(); ++o) {
    const auto v = static_cast<size_t>(program_.outputs[o]);
    dims[o] = prepared.known[v] ? &prepared.dims[v] : nullptr;
  }
}

}  // namespace lathe
