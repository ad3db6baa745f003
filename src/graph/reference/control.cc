// If, Loop and Scan.
#include "graph/reference/families.h"
#include "graph/reference/indexing.h"
#include "graph/reference/movement.h"

namespace lathe::reference {
namespace {

std::vector<RefValue> copies(const Call& call, size_t first, size_t count) {
  std::vector<RefValue> values;
  for (size_t i = first; i < first + count; ++i) values.push_back(call.has(i) ? call.value(i) : RefValue{});
  return values;
}

bool read_condition(const Tensor& condition) {
  if (condition.dtype() != DType::boolean || condition.elements() != 1)
    fail(ErrorCode::invalid_argument, "a condition is {}{}, expected one bool", to_string(condition.dtype()),
         to_string(condition.dims()));
  return condition.read_int(0) != 0;
}

const Tensor& as_tensor(const RefValue& value) {
  const auto* tensor = std::get_if<Tensor>(&value);
  if (tensor == nullptr)
    fail(ErrorCode::invalid_model, "a region gives something that is not a tensor, where one is needed");
  return *tensor;
}

// Stacks what the iterations gave. When there were none, the body's type says what a slice would have been; sizes that
// only an iteration would have told are 0.
Tensor stack_slices(const std::vector<Tensor>& slices, const Type& type, size_t axis, const SymbolBindings& symbols) {
  if (!slices.empty()) return stack(slices, axis);
  Sizes sizes;
  for (const Dim& dim : type.shape) sizes.push_back(symbols.try_evaluate(dim).value_or(0));
  sizes.insert(sizes.begin() + static_cast<int64_t>(std::min(axis, sizes.size())), 0);
  return Tensor(type.dtype, std::move(sizes));
}

// What a body gives besides its condition or states, one list per output.
using Slices = std::vector<std::vector<Tensor>>;

int64_t scan_length(const Scan& op, const Call& call) {
  std::optional<int64_t> length;
  for (size_t i = 0; i < static_cast<size_t>(op.num_scanned); ++i) {
    const Tensor& x = call.tensor(static_cast<size_t>(op.num_states) + i);
    const int64_t size = x.dims()[resolve_axis(op.input_axes[i], x.rank())];
    if (length && *length != size)
      fail(ErrorCode::invalid_argument, "scanned inputs have {} and {} steps", *length, size);
    length = size;
  }
  if (!length) fail(ErrorCode::invalid_model, "nothing is scanned");
  return *length;
}

Tensor scanned_slice(const Tensor& x, int64_t along, bool reversed, int64_t step) {
  const size_t axis = resolve_axis(along, x.rank());
  return remove_axis(slice(x, axis, reversed ? x.dims()[axis] - 1 - step : step, 1), axis);
}

void check_scan(const Scan& op, size_t num_inputs, size_t body_outputs) {
  const auto scanned = static_cast<size_t>(op.num_scanned), states = static_cast<size_t>(op.num_states);
  if (num_inputs < states + scanned || op.input_axes.size() != scanned || op.input_reversed.size() != scanned ||
      body_outputs < states || op.output_axes.size() != body_outputs - states ||
      op.output_reversed.size() != body_outputs - states)
    fail(ErrorCode::invalid_model, "the axes and directions do not fit {} inputs and {} results of the body",
         num_inputs, body_outputs);
}

}  // namespace

std::vector<RefValue> evaluate(const If& op, const Call& call) {
  const Region& taken = read_condition(call.tensor(0)) ? op.then_branch : op.else_branch;
  return evaluate_region(taken.graph(), copies(call, 1, call.inputs.size() - 1), call.symbols);
}

std::vector<RefValue> evaluate(const Loop& op, const Call& call) {
  const Graph& body = op.body.graph();
  const auto carried = static_cast<size_t>(op.num_carried);
  if (call.inputs.size() < 2 + carried || body.outputs().size() < 1 + carried)
    fail(ErrorCode::invalid_model, "{} operands and {} results of the body for {} carried values", call.inputs.size(),
         body.outputs().size(), carried);
  const Tensor* trip_count = call.optional_tensor(0);
  bool goes_on = !call.has(1) || read_condition(call.tensor(1));
  std::vector<RefValue> states = copies(call, 2, carried);
  const std::vector<RefValue> captures = copies(call, 2 + carried, call.inputs.size() - 2 - carried);
  Slices slices(body.outputs().size() - 1 - carried);
  for (int64_t i = 0; goes_on && (trip_count == nullptr || i < trip_count->read_int(0)); ++i) {
    std::vector<RefValue> inputs{Tensor::scalar<int64_t>(i), Tensor::scalar(true)};
    inputs.insert(inputs.end(), states.begin(), states.end());
    inputs.insert(inputs.end(), captures.begin(), captures.end());
    std::vector<RefValue> results = evaluate_region(body, inputs, call.symbols);
    goes_on = read_condition(as_tensor(results[0]));
    for (size_t s = 0; s < carried; ++s) states[s] = std::move(results[1 + s]);
    for (size_t s = 0; s < slices.size(); ++s) slices[s].push_back(as_tensor(results[1 + carried + s]));
  }
  for (size_t s = 0; s < slices.size(); ++s)
    states.emplace_back(stack_slices(slices[s], body.outputs()[1 + carried + s]->type(), 0, call.symbols));
  return states;
}

std::vector<RefValue> evaluate(const Scan& op, const Call& call) {
  const Graph& body = op.body.graph();
  const auto num_states = static_cast<size_t>(op.num_states), scanned = static_cast<size_t>(op.num_scanned);
  check_scan(op, call.inputs.size(), body.outputs().size());
  std::vector<RefValue> states = copies(call, 0, num_states);
  const std::vector<RefValue> captures = copies(call, num_states + scanned, call.inputs.size() - num_states - scanned);
  Slices slices(body.outputs().size() - num_states);
  const int64_t length = scan_length(op, call);
  for (int64_t step = 0; step < length; ++step) {
    std::vector<RefValue> inputs = states;
    for (size_t i = 0; i < scanned; ++i)
      inputs.emplace_back(
          scanned_slice(call.tensor(num_states + i), op.input_axes[i], op.input_reversed[i] != 0, step));
    inputs.insert(inputs.end(), captures.begin(), captures.end());
    std::vector<RefValue> results = evaluate_region(body, inputs, call.symbols);
    for (size_t s = 0; s < num_states; ++s) states[s] = std::move(results[s]);
    for (size_t s = 0; s < slices.size(); ++s) {
      const auto where = op.output_reversed[s] != 0 ? slices[s].begin() : slices[s].end();
      slices[s].insert(where, as_tensor(results[num_states + s]));
    }
  }
  for (size_t s = 0; s < slices.size(); ++s) {
    const Type& type = body.outputs()[num_states + s]->type();
    const int64_t rank = slices[s].empty() ? type.rank() : slices[s][0].rank();
    states.emplace_back(stack_slices(slices[s], type, resolve_axis(op.output_axes[s], rank + 1), call.symbols));
  }
  return states;
}

}  // namespace lathe::reference
