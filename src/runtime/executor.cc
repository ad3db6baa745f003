#include "runtime/executor.h"

#include <algorithm>

#include "base/error.h"
#include "graph/reference/evaluator.h"
#include "graph/token_packing.h"
#include "runtime/control_flow.h"

namespace lathe {
namespace {

constexpr size_t kMaxPrepared = 256;

}  // namespace

Executor::Executor(const Graph& graph, const Program& program, std::span<void* const> weights, DeviceContext& device,
                   WeightStream* stream)
    : wiring_(graph, program),
      program_(program),
      weights_(weights),
      device_(device),
      stream_(stream),
      control_flow_(program.steps.size()),
      pointers_(program.values.size(), nullptr),
      arena_(device),
      late_workspace_(device) {
  for (const ProgramValue& value : program.values) {
    LateValue& late = late_.emplace_back(device);
    if (value.weight < 0 || value.value->dtype() != DType::string) continue;
    const Tensor& strings = value.value->producer()->as<Constant>()->value;
    late.object = std::make_shared<const RefValue>(strings);
    late.dims = strings.dims();
  }
  for (size_t o = 0; o < program.outputs.size(); ++o) own_outputs_.emplace_back(device);
  for (size_t s = 0; s < program.steps.size(); ++s)
    if (!program.steps[s].regions.empty()) control_flow_[s] = make_control_flow(program.steps[s], weights, device);
}

Executor::~Executor() = default;

// ---- preparing for a set of input sizes ----

Prepared& Executor::prepared_for(std::span<const TensorRef> inputs, const SymbolBindings* outer) {
  check_types(inputs);
  count(inputs);
  const RunSizes sizes{inputs, counted_, outer};
  const auto found = std::find_if(cache_.begin(), cache_.end(), [&](const std::unique_ptr<Prepared>& prepared) {
    return is_prepared_for(*prepared, wiring_, sizes);
  });
  if (found != cache_.end()) {
    std::rotate(cache_.begin(), found, found + 1);
  } else {
    std::unique_ptr<Prepared> made = prepare(wiring_, sizes, capacities_, device_);
    if (cache_.size() == kMaxPrepared) cache_.pop_back();
    cache_.insert(cache_.begin(), std::move(made));
  }
  return *cache_.front();
}

// Everything about the inputs but their sizes, which belong to what is prepared; so this is checked in every run.
void Executor::check_types(std::span<const TensorRef> inputs) const {
  const auto expected = wiring_.graph.inputs();
  if (inputs.size() != expected.size())
    fail(ErrorCode::invalid_argument, "the model takes {} inputs, {} are given", expected.size(), inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& value = *expected[i];
    const Type& type = value.type();
    if (!is_object(type) && inputs[i].dtype != type.dtype)
      fail(ErrorCode::invalid_argument, "input '{}' must be {}, not {}", value.name(), to_string(type.dtype),
           to_string(inputs[i].dtype));
    if (type.is_tensor() && type.ranked && inputs[i].dims.size() != type.shape.size())
      fail(ErrorCode::invalid_argument, "input '{}' must have shape {}, not {}", value.name(), to_string(type.shape),
           to_string(inputs[i].dims));
  }
}

// Sizes that follow from elements. Without data, as when memory is set aside, the largest that they can be.
void Executor::count(std::span<const TensorRef> inputs) {
  counted_.clear();
  for (const CountedSize& counted : wiring_.counted) {
    const TensorRef& input = inputs[counted.input];
    counted_.push_back(input.data == nullptr
                           ? input.elements()
                           : packed_size(*counted.op, {input.dtype, on_host(input), input.dims[0], input.dims[1]}));
  }
}

const void* Executor::on_host(const TensorRef& input) {
  if (device_.host_memory()) return input.data;
  if (input.host != nullptr) return input.host;
  bound_values_.resize(storage_bytes(input.dtype, input.elements()));
  device_.synchronize();
  device_.download(bound_values_, input.data);
  return bound_values_.data();
}

void Executor::reserve(std::span<const TensorRef> inputs) {
  const Prepared& largest = prepared_for(inputs, nullptr);
  arena_.reserve(largest.placement->arena_bytes);
  for (size_t o = 0; o < program_.outputs.size(); ++o) {
    const auto v = static_cast<size_t>(program_.outputs[o]);
    if (largest.known[v])
      own_outputs_[o].memory.reserve(storage_bytes(program_.values[v].value->dtype(), element_count(largest.dims[v])));
  }
  // Only now that there is as much memory may smaller sizes count on it.
  const auto smaller = [](const auto& a, const auto& b) { return a->arena_bytes < b->arena_bytes; };
  capacities_.insert(std::upper_bound(capacities_.begin(), capacities_.end(), largest.placement, smaller),
                     largest.placement);
}

// ---- running ----

void Executor::run(std::span<const TensorRef> inputs, std::span<TensorRef> outputs, StepObserver* observer) {
  enqueue(inputs, outputs, observer);
  device_.synchronize();
}

void Executor::enqueue(std::span<const TensorRef> inputs, std::span<TensorRef> outputs, StepObserver* observer) {
  device_.begin_run();
  execute(inputs, outputs, nullptr, observer);
}

void Executor::run_region(std::span<const TensorRef> inputs, std::span<TensorRef> outputs,
                          const SymbolBindings& outer) {
  execute(inputs, outputs, &outer, nullptr);
}

void Executor::execute(std::span<const TensorRef> inputs, std::span<TensorRef> outputs, const SymbolBindings* outer,
                       StepObserver* observer) {
  Prepared& prepared = prepared_for(inputs, outer);
  prepared.symbols.rollback(prepared.input_symbols);
  arena_.reserve(prepared.placement->arena_bytes);
  assign_pointers(prepared, inputs, outputs);
  if (observer != nullptr || !replay(prepared)) run_steps(prepared, observer);
  for (size_t o = 0; o < outputs.size(); ++o) finish_output(prepared, o, outputs[o]);
}

// A run at the addresses of the one before is recorded, and those after it replay the recording. False when this run
// has to be made step by step.
bool Executor::replay(Prepared& prepared) {
  if (!prepared.recordable || stream_ != nullptr) return false;
  pointers_.push_back(arena_.data());  // where workspaces lie
  const bool moved = prepared.addresses != pointers_;
  if (moved) prepared.addresses = pointers_;
  pointers_.pop_back();
  if (moved) {
    prepared.recording.reset();
    return false;
  }
  if (prepared.recording == nullptr) {
    device_.begin_recording();
    try {
      run_steps(prepared, nullptr);
    } catch (...) {
      device_.end_recording();
      throw;
    }
    prepared.recording = device_.end_recording();
  }
  device_.replay(*prepared.recording);
  return true;
}

void Executor::run_steps(Prepared& prepared, StepObserver* observer) {
  for (size_t s = 0; s < program_.steps.size(); ++s) {
    const Node& node = *program_.steps[s].node;
    if (observer != nullptr) observer->before(s);  // which ends a run for reasons of its own
    try {
      if (stream_ != nullptr) stream_->before(s);
      if (node.is<Bind>())
        run_bind(prepared, s);
      else if (prepared.steps[s].late)
        run_late_step(prepared, s, observer);
      else
        run_step(prepared, s, observer);
      if (stream_ != nullptr) stream_->after(s);
    } catch (Error& error) {
      throw error.in_node(node.name(), op_name(node.op()));
    }
  }
}

void Executor::assign_pointers(const Prepared& prepared, std::span<const TensorRef> inputs,
                               std::span<TensorRef> outputs) {
  for (size_t v = 0; v < program_.values.size(); ++v) {
    const ProgramValue& value = program_.values[v];
    if (static_cast<size_t>(value.root) != v) continue;
    const size_t offset = prepared.placement->offsets[v];
    const int input = wiring_.input_of_root[v], output = wiring_.output_of_root[v];
    pointers_[v] = nullptr;
    if (input >= 0) {
      const TensorRef& given = inputs[static_cast<size_t>(input)];
      LATHE_CHECK(!is_object(value.value->type()) || given.object != nullptr);
      pointers_[v] = given.data;
      late_[v].object = {std::shared_ptr<const void>(), given.object};  // the caller keeps it alive
      late_[v].dims.assign(given.dims.begin(), given.dims.end());
    } else if (value.weight >= 0) {
      pointers_[v] = weights_[static_cast<size_t>(value.weight)];
    } else if (prepared.known[v] && output >= 0) {
      const auto o = static_cast<size_t>(output);
      pointers_[v] =
          outputs[o].data != nullptr
              ? outputs[o].data
              : own_outputs_[o].memory.reserve(storage_bytes(value.value->dtype(), element_count(prepared.dims[v])));
    } else if (offset != kNotInArena) {
      pointers_[v] = static_cast<std::byte*>(arena_.data()) + offset;
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
  void* workspace = target.workspace_bytes == 0 ? nullptr
                                                : static_cast<std::byte*>(arena_.data()) +
                                                      prepared.placement->offsets[program_.values.size() + s];
  device_.announce(target.cost);
  step.step->run(io, target.state.get(), workspace, device_);
  if (observer == nullptr) return;
  if (observer->waits()) device_.synchronize();
  observer->after(s, io);
}

// The output's memory is where the last step wrote it; one that is an input, a weight or another output as well, or
// that was bound and came late, gets a copy.
void Executor::finish_output(const Prepared& prepared, size_t o, TensorRef& out) {
  const int value = program_.outputs[o];
  const auto root = static_cast<size_t>(program_.values[static_cast<size_t>(value)].root);
  const Type& type = program_.values[static_cast<size_t>(value)].value->type();
  LateValue& own = own_outputs_[o];
  const std::vector<int64_t>& dims = sizes_of(prepared, value);
  own.dims.assign(dims.begin(), dims.end());
  void* const bound = out.data;
  out = {pointers_[root], type.dtype, own.dims, true, late_[root].object.get()};
  if (is_object(type) || out.data == bound) return;
  if (bound == nullptr && wiring_.output_of_root[root] == static_cast<int>(o)) return;
  const size_t bytes = storage_bytes(type.dtype, element_count(own.dims));
  out.data = bound != nullptr ? bound : own.memory.reserve(bytes);
  device_.copy(out.data, pointers_[root], bytes);
}

void Executor::take_output(size_t o, LateValue& value) {
  const auto v = static_cast<size_t>(program_.outputs[o]);
  const auto root = static_cast<size_t>(program_.values[v].root);
  const bool late = !cache_.front()->known[root] && wiring_.output_of_root[root] == static_cast<int>(o);
  value.dims.assign(own_outputs_[o].dims.begin(), own_outputs_[o].dims.end());
  value.object = late_[root].object;
  if (!is_object(program_.values[v].value->type()))
    std::swap(value.memory, late ? late_[root].memory : own_outputs_[o].memory);
  else if (value.object.use_count() == 0)  // an input, which belongs to the caller
    value.object = std::make_shared<const RefValue>(*static_cast<const RefValue*>(value.object.get()));
}

// ---- sizes without running ----

Executor::Footprint Executor::footprint(std::span<const TensorRef> inputs) {
  const Prepared& prepared = prepared_for(inputs, nullptr);
  return {prepared.placement->arena_bytes, prepared.activation_bytes, prepared.largest_workspace, prepared.late_values};
}

void Executor::output_dims(std::span<const TensorRef> inputs, std::span<const std::vector<int64_t>*> dims,
                           const SymbolBindings* outer) {
  const Prepared& prepared = prepared_for(inputs, outer);
  for (size_t o = 0; o < dims.size(); ++o) {
    const auto v = static_cast<size_t>(program_.outputs[o]);
    dims[o] = prepared.known[v] ? &prepared.dims[v] : nullptr;
  }
}

}  // namespace lathe
