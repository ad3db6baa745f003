#include "runtime/control_flow.h"

#include <limits>

#include "base/error.h"
#include "runtime/loop_body.h"

namespace lathe {
namespace {

// One element of a tensor on the device.
template <class T>
T read(DeviceContext& device, const TensorRef& ref, std::string_view what) {
  if (ref.dtype != dtype_of<T>() || ref.elements() != 1)
    fail(ErrorCode::invalid_argument, "{} is {}{}, expected one {}", what, to_string(ref.dtype), to_string(ref.dims),
         to_string(dtype_of<T>()));
  T value;
  device.synchronize();
  device.download(std::as_writable_bytes(std::span(&value, 1)), ref.data);
  return value;
}

class IfFlow : public ControlFlow {
 public:
  IfFlow(const ProgramStep& step, const If& op, std::span<void* const> weights, DeviceContext& device)
      : device_(device),
        then_(op.then_branch.graph(), step.regions[0], weights, device),
        else_(op.else_branch.graph(), step.regions[1], weights, device),
        refs_(step.outputs.size()),
        dims_(step.outputs.size()) {}

  void run(const ControlIo& io) override {
    Executor& branch = read<bool>(device_, io.inputs[0], "a condition") ? then_ : else_;
    const std::span<const TensorRef> captures = io.inputs.subspan(1);
    branch.output_dims(captures, dims_, &io.symbols);
    for (size_t o = 0; o < refs_.size(); ++o) {
      refs_[o] = {};
      if (dims_[o] != nullptr) refs_[o].data = output_memory(io, o, *dims_[o]);
    }
    branch.run_region(captures, refs_, io.symbols);
    for (size_t o = 0; o < refs_.size(); ++o)
      if (dims_[o] == nullptr) take(branch, io, o);
  }

 private:
  // Where an output of these sizes goes.
  static void* output_memory(const ControlIo& io, size_t o, const std::vector<int64_t>& dims) {
    const TensorRef& out = io.outputs[o];
    if (out.data != nullptr) {
      check_sizes(dims, out.dims);
      return out.data;
    }
    LateValue& late = *io.late[o];
    late.dims.assign(dims.begin(), dims.end());
    return late.memory.reserve(storage_bytes(out.dtype, element_count(dims)));
  }

  void take(Executor& branch, const ControlIo& io, size_t o) {
    const TensorRef& out = io.outputs[o];
    if (out.data == nullptr) return branch.take_output(o, *io.late[o]);
    check_sizes(refs_[o].dims, out.dims);
    device_.copy(out.data, refs_[o].data, storage_bytes(out.dtype, out.elements()));
  }

  DeviceContext& device_;
  Executor then_, else_;
  std::vector<TensorRef> refs_;
  std::vector<const std::vector<int64_t>*> dims_;
};

class LoopFlow : public ControlFlow {
 public:
  LoopFlow(const ProgramStep& step, const Loop& op, std::span<void* const> weights, DeviceContext& device)
      : device_(device),
        number_(device),
        flag_(device),
        body_(step, weights, device, {2, static_cast<size_t>(op.num_carried), 0, 1}) {}

  void run(const ControlIo& io) override {
    const TensorRef &limit = io.inputs[0], &condition = io.inputs[1];
    const int64_t trips =
        limit.present ? read<int64_t>(device_, limit, "a trip count") : std::numeric_limits<int64_t>::max();
    bool goes_on = !condition.present || read<bool>(device_, condition, "a condition");
    body_.begin(io);
    body_.set_input(0, {number_.reserve(sizeof(int64_t)), DType::i64, {}, true, nullptr});
    body_.set_input(1, {flag_.reserve(sizeof(bool)), DType::boolean, {}, true, nullptr});
    const bool always = true;
    device_.upload(flag_.data(), std::as_bytes(std::span(&always, 1)));
    for (int64_t i = 0; goes_on && i < trips; ++i) {
      device_.upload(number_.data(), std::as_bytes(std::span(&i, 1)));
      body_.run(io, {i + 1 == trips, trips, {}});
      goes_on = read<bool>(device_, body_.output(0), "a condition");
    }
    body_.finish(io);
  }

 private:
  DeviceContext& device_;
  DeviceBuffer number_, flag_;  // of the iteration
  LoopBody body_;
};

class ScanFlow : public ControlFlow {
 public:
  ScanFlow(const ProgramStep& step, const Scan& op, std::span<void* const> weights, DeviceContext& device)
      : op_(op),
        states_(static_cast<size_t>(op.num_states)),
        scanned_(static_cast<size_t>(op.num_scanned)),
        body_(step, weights, device, {0, states_, scanned_, 0}) {}

  void run(const ControlIo& io) override {
    const int64_t length = length_of(io);
    body_.begin(io);
    for (int64_t i = 0; i < length; ++i) {
      for (size_t k = 0; k < scanned_; ++k) {
        const TensorRef& whole = io.inputs[states_ + k];
        const std::span<const int64_t> dims = whole.dims.subspan(1);
        const int64_t at = op_.input_reversed[k] != 0 ? length - 1 - i : i;
        body_.set_input(states_ + k, {whole.as<std::byte>() +
                                          static_cast<size_t>(at) * storage_bytes(whole.dtype, element_count(dims)),
                                      whole.dtype, dims, true, nullptr});
      }
      body_.run(io, {i + 1 == length, length, op_.output_reversed});
    }
    body_.finish(io);
  }

 private:
  int64_t length_of(const ControlIo& io) const {
    const auto scanned = io.inputs.subspan(states_, scanned_);
    for (const TensorRef& ref : scanned) {
      if (ref.dims.empty()) fail(ErrorCode::invalid_argument, "a scalar cannot be scanned");
      if (ref.dims[0] != scanned[0].dims[0])
        fail(ErrorCode::invalid_argument, "scanned inputs have {} and {} steps", scanned[0].dims[0], ref.dims[0]);
    }
    return scanned[0].dims[0];
  }

  const Scan& op_;
  const size_t states_, scanned_;
  LoopBody body_;
};

}  // namespace

std::unique_ptr<ControlFlow> make_control_flow(const ProgramStep& step, std::span<void* const> weights,
                                               DeviceContext& device) {
  if (const If* op = step.node->as<If>()) return std::make_unique<IfFlow>(step, *op, weights, device);
  if (const Loop* op = step.node->as<Loop>()) return std::make_unique<LoopFlow>(step, *op, weights, device);
  const Scan* op = step.node->as<Scan>();
  LATHE_CHECK(op != nullptr);
  return std::make_unique<ScanFlow>(step, *op, weights, device);
}

}  // namespace lathe
