#include "runtime/loop_body.h"

#include <algorithm>

#include "base/error.h"
#include "graph/reference/evaluator.h"

namespace lathe {

void check_sizes(std::span<const int64_t> actual, std::span<const int64_t> expected) {
  if (!std::equal(actual.begin(), actual.end(), expected.begin(), expected.end()))
    fail(ErrorCode::invalid_argument, "a region gives a value of shape {}, expected {}", to_string(actual),
         to_string(expected));
}

LoopBody::LoopBody(const ProgramStep& step, std::span<void* const> weights, DeviceContext& device,
                   const Signature& signature)
    : node_(*step.node),
      device_(device),
      signature_(signature),
      body_(regions_of(node_.op())[0]->graph(), step.regions[0], weights, device),
      inputs_(step.inputs.size()),
      outputs_(signature.results + step.outputs.size()),
      dims_(outputs_.size()),
      stacks_(step.outputs.size() - signature.carried) {
  for (size_t c = 0; c < signature.carried; ++c) carried_.push_back({LateValue(device), LateValue(device)});
}

void LoopBody::begin(const ControlIo& io) {
  std::copy(io.inputs.begin(), io.inputs.end(), inputs_.begin());
  done_ = 0;
}

void LoopBody::run(const ControlIo& io, const Iteration& iteration) {
  body_.output_dims(inputs_, dims_, &io.symbols);
  std::fill(outputs_.begin(), outputs_.end(), TensorRef{});
  for (size_t c = 0; c < signature_.carried; ++c) {
    const size_t o = signature_.results + c;
    if (dims_[o] != nullptr) outputs_[o].data = place_carried(io, c, *dims_[o], iteration.last);
  }
  const size_t first = signature_.results + signature_.carried;
  for (size_t k = 0; k < stacks_.size(); ++k) {
    if (dims_[first + k] == nullptr) continue;
    place_slice(io, k, *dims_[first + k], iteration);
    outputs_[first + k].data = stacks_[k].place;
  }
  body_.run_region(inputs_, outputs_, io.symbols);
  for (size_t c = 0; c < signature_.carried; ++c) hand_on(c);
  for (size_t k = 0; k < stacks_.size(); ++k) {
    if (dims_[first + k] != nullptr) continue;
    place_slice(io, k, outputs_[first + k].dims, iteration);
    device_.copy(stacks_[k].place, outputs_[first + k].data, stacks_[k].slice_bytes);
  }
  ++done_;
}

// The last iteration writes to where the result belongs.
void* LoopBody::place_carried(const ControlIo& io, size_t c, const std::vector<int64_t>& dims, bool last) {
  LateValue& value = written(c);
  value.dims.assign(dims.begin(), dims.end());
  const TensorRef& out = io.outputs[c];
  if (last && out.data != nullptr) {
    check_sizes(dims, out.dims);
    return out.data;
  }
  return value.memory.reserve(storage_bytes(out.dtype, element_count(dims)));
}

// What this iteration gave is what the next one takes.
void LoopBody::hand_on(size_t c) {
  const size_t o = signature_.results + c;
  LateValue& value = written(c);
  TensorRef& next = inputs_[signature_.head + c];
  next = outputs_[o];
  if (dims_[o] == nullptr) {
    body_.take_output(o, value);
    next.data = value.memory.data();
    next.object = value.object.get();
  }
  next.dims = value.dims;
}

void LoopBody::place_slice(const ControlIo& io, size_t k, std::span<const int64_t> dims, const Iteration& iteration) {
  Stack& stack = stacks_[k];
  const TensorRef& out = io.outputs[signature_.carried + k];
  if (done_ == 0) {
    stack.slice.assign(dims.begin(), dims.end());
    stack.slice_bytes = storage_bytes(out.dtype, element_count(dims));
  }
  check_sizes(dims, stack.slice);
  const bool reversed = !iteration.reversed.empty() && iteration.reversed[k] != 0;
  const int64_t at = reversed ? iteration.most - 1 - done_ : done_;
  std::byte* base = out.as<std::byte>();
  if (base != nullptr) {
    if (out.dims.empty() || at >= out.dims[0])
      fail(ErrorCode::invalid_argument, "more slices come than fit into {}", to_string(out.dims));
    check_sizes(stack.slice, out.dims.subspan(1));
  } else {
    // A loop may stop early, so memory grows with the iterations; but a stack that is filled from its end has a length.
    const auto used = static_cast<size_t>(done_), most = static_cast<size_t>(iteration.most);
    DeviceBuffer& memory = io.late[signature_.carried + k]->memory;
    const bool grows = memory.data() == nullptr || memory.capacity() < (used + 1) * stack.slice_bytes;
    const size_t slices = reversed ? most : grows ? std::min(most, 2 * used + 1) : used;
    base = static_cast<std::byte*>(memory.extend(slices * stack.slice_bytes, used * stack.slice_bytes));
  }
  stack.place = base + static_cast<size_t>(at) * stack.slice_bytes;
}

void LoopBody::finish(const ControlIo& io) {
  for (size_t c = 0; c < signature_.carried; ++c) finish_carried(io, c);
  for (size_t k = 0; k < stacks_.size(); ++k) finish_stack(io, k);
}

void LoopBody::finish_carried(const ControlIo& io, size_t c) {
  const TensorRef &out = io.outputs[c], &value = inputs_[signature_.head + c];
  LateValue& late = *io.late[c];
  if (out.data == nullptr && done_ > 0) return std::swap(late, read(c));
  if (value.object != nullptr) {
    late.object = std::make_shared<const RefValue>(*static_cast<const RefValue*>(value.object));
    return;
  }
  const size_t bytes = storage_bytes(value.dtype, value.elements());
  void* target = out.data;
  if (target == nullptr) {
    late.dims.assign(value.dims.begin(), value.dims.end());
    target = late.memory.reserve(bytes);
  } else {
    check_sizes(value.dims, out.dims);
  }
  if (target != value.data) device_.copy(target, value.data, bytes);
}

// Without iterations the type of the stack says what a slice would have been; sizes that only an iteration would have
// told are 0.
void LoopBody::finish_stack(const ControlIo& io, size_t k) {
  Stack& stack = stacks_[k];
  if (done_ == 0) {
    const Shape& shape = node_.output(signature_.carried + k)->shape();
    stack.slice.clear();
    for (size_t axis = 1; axis < shape.size(); ++axis)
      stack.slice.push_back(io.symbols.try_evaluate(shape[axis]).value_or(0));
  }
  const TensorRef& out = io.outputs[signature_.carried + k];
  LateValue& late = *io.late[signature_.carried + k];
  late.dims.assign({done_});
  late.dims.insert(late.dims.end(), stack.slice.begin(), stack.slice.end());
  if (out.data != nullptr) return check_sizes(late.dims, out.dims);
  late.memory.reserve(0);
}

}  // namespace lathe
