#include "build/host_step.h"

#include <algorithm>

#include "graph/constant.h"

namespace lathe {
namespace {

size_t bytes_of(const TensorRef& ref) { return storage_bytes(ref.dtype, ref.elements()); }

}  // namespace

// One run of a host step: the host's side of every operand and result. Kept between runs with the same sizes.
class HostStep::Call : public StepState, public OutputAllocator {
 public:
  Call(const HostStep& owner, const StepIo& io)
      : owner_(owner),
        inputs_(io.inputs.begin(), io.inputs.end()),
        outputs_(io.outputs.begin(), io.outputs.end()),
        input_memory_(io.inputs.size()),
        output_memory_(io.outputs.size()),
        output_dims_(io.outputs.size()) {}

  void prepare(const StepIo& io, int threads) {
    const StepIo host = io_for(io, threads);
    workspace_bytes_ = owner_.step_->workspace_bytes(host);
    state_ = owner_.step_->prepare(host);
  }

  void run(const StepIo& io, DeviceContext& device) {
    device_io_ = &io;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      inputs_[i] = io.inputs[i];
      if (!io.inputs[i].present || io.inputs[i].object != nullptr) continue;
      inputs_[i].data = fetch(i, device);
    }
    for (size_t o = 0; o < outputs_.size(); ++o) {
      outputs_[o] = io.outputs[o];
      if (io.outputs[o].data != nullptr) outputs_[o].data = output_memory_[o].resize(bytes_of(io.outputs[o]));
    }
    DeviceContext& host = device.host();
    const StepIo host_io = io_for(io, host.threads());
    owner_.step_->run(host_io, state_.get(), workspace_.resize(workspace_bytes_), host);
    for (size_t o = 0; o < outputs_.size(); ++o) deliver(o, device);
    for (const size_t i : owner_.written_)
      device.upload(io.inputs[i].data, {inputs_[i].as<const std::byte>(), bytes_of(inputs_[i])});
  }

  void* allocate(size_t output, DType dtype, std::span<const int64_t> dims) override {
    output_dims_[output].assign(dims.begin(), dims.end());
    outputs_[output].dtype = dtype;
    outputs_[output].dims = output_dims_[output];
    outputs_[output].data = output_memory_[output].resize(storage_bytes(dtype, outputs_[output].elements()));
    return outputs_[output].data;
  }
  void set_object(size_t output, std::shared_ptr<const void> object) override {
    device_io_->allocator->set_object(output, std::move(object));
  }

 private:
  StepIo io_for(const StepIo& io, int threads) { return {inputs_, outputs_, io.symbols, threads, this}; }

  void* fetch(size_t input, DeviceContext& device) {
    if (owner_.constants_[input] != nullptr) return owner_.constants_[input]->resize(0);
    const size_t bytes = bytes_of(inputs_[input]);
    std::byte* memory = input_memory_[input].resize(bytes);
    device.download({memory, bytes}, inputs_[input].data);
    return memory;
  }

  void deliver(size_t output, DeviceContext& device) {
    const TensorRef& made = outputs_[output];
    if (made.data == nullptr) return;  // an object
    void* target = device_io_->outputs[output].data;
    if (target == nullptr) target = device_io_->allocator->allocate(output, made.dtype, made.dims);
    device.upload(target, {static_cast<const std::byte*>(made.data), bytes_of(made)});
  }

  const HostStep& owner_;
  std::vector<TensorRef> inputs_, outputs_;
  std::vector<HostBuffer> input_memory_, output_memory_;
  std::vector<std::vector<int64_t>> output_dims_;  // of results that the step sizes itself
  HostBuffer workspace_;
  size_t workspace_bytes_ = 0;
  std::unique_ptr<StepState> state_;
  const StepIo* device_io_ = nullptr;
};

HostStep::HostStep(const Node& node, Lowered lowered, const Backend& host)
    : step_(std::move(lowered.step)), constants_(node.inputs().size()), written_(written_operands(node.op())) {
  for (size_t i = 0; i < constants_.size(); ++i) {
    const Value* input = node.inputs()[i];
    if (!is_constant(input)) continue;
    const Tensor value = input->producer()->as<Constant>()->value.aligned();
    if (value.dtype() == DType::string) continue;
    const WeightLayout layout = i < lowered.operand_layouts.size() ? lowered.operand_layouts[i] : WeightLayout{};
    const size_t bytes = layout.plain() ? value.bytes().size() : host.packed_bytes(layout, value.dtype(), value.dims());
    constants_[i] = std::make_unique<HostBuffer>();
    std::byte* memory = constants_[i]->resize(bytes);
    if (layout.plain())
      std::copy(value.bytes().begin(), value.bytes().end(), memory);
    else
      host.pack(layout, value, {memory, bytes});
  }
}

std::unique_ptr<StepState> HostStep::prepare(const StepIo& io) const {
  auto call = std::make_unique<Call>(*this, io);
  call->prepare(io, io.threads);
  return call;
}

void HostStep::run(const StepIo& io, const StepState* state, void*, DeviceContext& device) const {
  if (state != nullptr) {  // a session's own, and a session runs one step at a time
    static_cast<Call*>(const_cast<StepState*>(state))->run(io, device);
  } else {
    Call(*this, io).run(io, device);
  }
}

}  // namespace lathe
