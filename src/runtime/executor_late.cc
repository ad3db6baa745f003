// The part of the executor for steps that cannot be prepared before the run: those with late values, control flow, and
// reading symbols. Memory and states are kept, so that a run whose late sizes are those of the last one allocates
// nothing here.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "graph/reference/evaluator.h"
#include "runtime/control_flow.h"
#include "runtime/executor.h"

namespace lathe {
namespace {

constexpr Cost kUnknownCost = {std::numeric_limits<double>::infinity(), 0};  // of a step that sizes its own results

const Tensor& string_tensor(const void* object) { return std::get<Tensor>(*static_cast<const RefValue*>(object)); }

// Whether `kept` is what it was.
bool keep(std::vector<int64_t>& kept, std::span<const int64_t> now) {
  if (std::equal(kept.begin(), kept.end(), now.begin(), now.end())) return true;
  kept.assign(now.begin(), now.end());
  return false;
}

}  // namespace

// Hands a late step memory for the outputs that it sizes itself.
class Executor::LateAllocator : public OutputAllocator {
 public:
  LateAllocator(Executor& executor, const ProgramStep& step) : executor_(executor), step_(step) {}

  void* allocate(size_t output, DType dtype, std::span<const int64_t> dims) override {
    LateValue& value = late(output);
    value.dims.assign(dims.begin(), dims.end());
    return value.memory.reserve(storage_bytes(dtype, element_count(dims)));
  }
  void set_object(size_t output, std::shared_ptr<const void> object) override {
    late(output).object = std::move(object);
  }

 private:
  LateValue& late(size_t output) { return executor_.late_[static_cast<size_t>(step_.outputs.at(output))]; }

  Executor& executor_;
  const ProgramStep& step_;
};

// Sizes of a value during the run: known ones, those of a late value, or those of an alias by the symbols bound by now.
// Valid until the next call.
const std::vector<int64_t>& Executor::sizes_of(const Prepared& prepared, int value) {
  const auto v = static_cast<size_t>(value);
  if (prepared.known[v]) return prepared.dims[v];
  const ProgramValue& entry = program_.values[v];
  const auto root = static_cast<size_t>(entry.root);
  if (root == v) return late_[v].dims;
  if (!evaluate_sizes(prepared.symbols, *entry.value, view_dims_)) prepared.symbols.evaluate(entry.value->shape());
  check_view(prepared.known[root] ? prepared.dims[root] : late_[root].dims, view_dims_);
  return view_dims_;
}

void Executor::run_late_step(Prepared& prepared, size_t s, StepObserver* observer) {
  const ProgramStep& step = program_.steps[s];
  PreparedStep& target = prepared.steps[s];
  bool as_before = refresh_operands(prepared, s, target);
  as_before &= refresh_results(prepared, s, target);
  as_before &= refresh_symbols(prepared, s, target);
  LateAllocator allocator(*this, step);
  const StepIo io{target.inputs, target.outputs, &prepared.symbols, device_.threads(), &allocator};
  if (step.regions.empty())
    call_late_step(s, target, io, as_before);
  else
    run_control_flow(prepared, s, target);
  for (size_t o = 0; o < step.outputs.size(); ++o) {
    const auto v = static_cast<size_t>(step.outputs[o]);
    if (prepared.known[v]) continue;
    adopt_late_output(prepared, step.outputs[o]);
    target.outputs[o].data = late_[v].memory.data();
    target.outputs[o].dims = late_[v].dims;
    target.outputs[o].object = late_[v].object.get();
  }
  if (observer == nullptr) return;
  if (observer->waits()) device_.synchronize();
  observer->after(s, io);
}

// Addresses and sizes of the operands; whether the sizes are those of the last time.
bool Executor::refresh_operands(const Prepared& prepared, size_t s, PreparedStep& target) {
  bool as_before = true;
  const std::vector<int>& values = program_.steps[s].inputs;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0) continue;
    const auto root = static_cast<size_t>(program_.values[static_cast<size_t>(values[i])].root);
    as_before &= keep(target.dims[i], sizes_of(prepared, values[i]));
    target.inputs[i].data = pointers_[root];
    target.inputs[i].object = late_[root].object.get();
    target.inputs[i].dims = target.dims[i];
  }
  return as_before;
}

// Likewise for the results; one that the step has to size itself stays without memory.
bool Executor::refresh_results(const Prepared& prepared, size_t s, PreparedStep& target) {
  bool as_before = true;
  const ProgramStep& step = program_.steps[s];
  for (size_t o = 0; o < step.outputs.size(); ++o) {
    const auto v = static_cast<size_t>(step.outputs[o]);
    const Value& value = *program_.values[v].value;
    TensorRef& ref = target.outputs[o];
    ref.data = prepared.known[v] ? pointers_[v] : nullptr;
    if (prepared.known[v] || is_object(value.type())) continue;
    std::vector<int64_t>& dims = late_[v].dims;
    if (!step.regions.empty() || !evaluate_sizes(prepared.symbols, value, dims)) continue;
    std::vector<int64_t>& kept = target.dims[step.inputs.size() + o];
    as_before &= keep(kept, dims);
    ref.dims = kept;
    ref.data = late_[v].memory.reserve(storage_bytes(value.dtype(), element_count(dims)));
  }
  return as_before;
}

bool Executor::refresh_symbols(const Prepared& prepared, size_t s, PreparedStep& target) const {
  bool as_before = true;
  const std::vector<std::string>& names = wiring_.mentioned[s];
  for (size_t i = 0; i < names.size(); ++i) {
    const int64_t value = prepared.symbols.find(names[i]).value_or(0);
    as_before &= value == target.symbols[i];
    target.symbols[i] = value;
  }
  return as_before;
}

void Executor::call_late_step(size_t s, PreparedStep& target, const StepIo& io, bool as_before) {
  const ProgramStep& step = program_.steps[s];
  const bool sized =
      std::all_of(target.outputs.begin(), target.outputs.end(), [](const TensorRef& r) { return r.data != nullptr; });
  if (!sized) {
    device_.announce(kUnknownCost);
    return step.step->run(io, nullptr, late_workspace_.reserve(step.step->workspace_bytes(io)), device_);
  }
  if (!as_before || !target.has_state) {
    target.has_state = false;
    target.state = step.step->prepare(io);
    target.workspace_bytes = step.step->workspace_bytes(io);
    target.cost = cost_of_step(step, io);
    target.has_state = true;
  }
  device_.announce(target.cost);
  step.step->run(io, target.state.get(), late_workspace_.reserve(target.workspace_bytes), device_);
}

void Executor::run_control_flow(const Prepared& prepared, size_t s, const PreparedStep& target) {
  step_late_.clear();
  for (const int v : program_.steps[s].outputs) step_late_.push_back(&late_[static_cast<size_t>(v)]);
  control_flow_[s]->run({target.inputs, target.outputs, step_late_, prepared.symbols});
}

// A late output now has sizes: symbols that stand alone in its type are bound to them, the other sizes must agree.
void Executor::adopt_late_output(Prepared& prepared, int value) {
  const auto v = static_cast<size_t>(value);
  const Type& type = program_.values[v].value->type();
  LateValue& late = late_[v];
  pointers_[v] = late.memory.data();
  if (!type.is_tensor()) return;
  if (type.dtype == DType::string) late.dims = string_tensor(late.object.get()).dims();
  if (!type.ranked) return;
  if (late.dims.size() != type.shape.size())
    fail(ErrorCode::invalid_argument, "value '{}' has shape {}, expected {}", program_.values[v].value->name(),
         to_string(late.dims), to_string(type.shape));
  for (size_t axis = 0; axis < type.shape.size(); ++axis) {
    const std::string& name = wiring_.axis_symbols[v][axis];
    if (!name.empty() && !prepared.symbols.find(name))
      prepared.symbols.bind(name, late.dims[axis]);
    else if (prepared.symbols.evaluate(type.shape[axis]) != late.dims[axis])
      fail(ErrorCode::invalid_argument, "value '{}' has size {} along axis {}, expected {}",
           program_.values[v].value->name(), late.dims[axis], axis, type.shape[axis].to_string());
  }
}

void Executor::run_bind(Prepared& prepared, size_t s) {
  const ProgramStep& step = program_.steps[s];
  const auto& symbols = step.node->as<Bind>()->symbols;
  const int value = step.inputs.at(0);
  const auto root = static_cast<size_t>(program_.values[static_cast<size_t>(value)].root);
  const int64_t elements = element_count(sizes_of(prepared, value));
  if (elements != static_cast<int64_t>(symbols.size()))
    fail(ErrorCode::invalid_argument, "'{}' has {} elements, the model needs {}", step.node->input(0)->name(), elements,
         symbols.size());
  const DType dtype = step.node->input(0)->dtype();
  bound_values_.resize(storage_bytes(dtype, elements));
  device_.synchronize();
  device_.download(bound_values_, pointers_[root]);
  visit_native(dtype, [&]<class T>() {
    if constexpr (std::is_integral_v<T>) {
      const T* numbers = reinterpret_cast<const T*>(bound_values_.data());
      for (size_t i = 0; i < symbols.size(); ++i) prepared.symbols.bind(symbols[i], static_cast<int64_t>(numbers[i]));
    } else {
      fail(ErrorCode::invalid_model, "sizes are read from a tensor of {}", to_string(dtype));
    }
  });
}

}  // namespace lathe
