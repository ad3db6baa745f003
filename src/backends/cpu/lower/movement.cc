// Data movement that depends on sizes only. Everything is a copy between strided boxes, of elements of any whole-byte
// type.
#include <algorithm>
#include <array>

#include "backends/cpu/kernels/copy.h"
#include "backends/cpu/lower/lower.h"
#include "base/error.h"

namespace lathe::cpu {
namespace {

class TransposeStep : public Step {
 public:
  TransposeStep(const lathe::Transpose& op, const KernelTable& kernels) : permutation_(op.perm), kernels_(kernels) {}

  void run(const StepIo& io, const StepState*, void*, DeviceContext& device) const override {
    const TensorRef& x = io.inputs[0];
    transpose(team_of(device), kernels_, element_bytes(x.dtype), x.dims, permutation_, x.data, io.outputs[0].data);
  }

 private:
  std::vector<int64_t> permutation_;
  const KernelTable& kernels_;
};

struct SliceState : StepState {
  std::vector<int64_t> from_strides, to_strides;
  int64_t offset = 0;  // of the first element, in elements
};

class SliceStep : public Step {
 public:
  SliceStep(const lathe::Slice& op, const KernelTable& kernels) : op_(op), kernels_(kernels) {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    const auto& dims = io.inputs[0].dims;
    const bool empty = io.outputs[0].elements() == 0;
    auto state = std::make_unique<SliceState>();
    state->from_strides = dense_strides(dims);
    state->to_strides = dense_strides(io.outputs[0].dims);
    for (size_t i = 0; i < op_.axes.size(); ++i) {
      const auto axis = static_cast<size_t>(op_.axes[i]);
      const int64_t first = io.symbols->evaluate(op_.starts[i]),
                    last = first + (io.outputs[0].dims[axis] - 1) * op_.steps[i];
      if (!empty && (std::min(first, last) < 0 || std::max(first, last) >= dims[axis]))
        fail(ErrorCode::invalid_argument, "a slice of elements {} to {} of axis {}, which has {}", first, last, axis,
             dims[axis]);
      state->offset += empty ? 0 : first * state->from_strides[axis];
      state->from_strides[axis] *= op_.steps[i];
    }
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const SliceState*>(prepared);
    const int64_t bytes = element_bytes(io.inputs[0].dtype);
    const NdCopy copy{bytes, io.outputs[0].dims, state.from_strides, state.to_strides};
    nd_copy(team_of(device), kernels_, copy, io.inputs[0].as<std::byte>() + state.offset * bytes, io.outputs[0].data);
  }

 private:
  lathe::Slice op_;
  const KernelTable& kernels_;
};

struct ConcatState : StepState {
  std::vector<std::vector<int64_t>> from_strides;  // by operand
  std::vector<int64_t> to_strides;
};

class ConcatStep : public Step {
 public:
  ConcatStep(const lathe::Concat& op, const KernelTable& kernels)
      : axis_(static_cast<size_t>(op.axis)), kernels_(kernels) {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<ConcatState>();
    for (const TensorRef& input : io.inputs) state->from_strides.push_back(dense_strides(input.dims));
    state->to_strides = dense_strides(io.outputs[0].dims);
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const ConcatState*>(prepared);
    const int64_t bytes = element_bytes(io.outputs[0].dtype);
    auto* out = io.outputs[0].as<std::byte>();
    for (size_t i = 0; i < io.inputs.size(); ++i) {
      const TensorRef& input = io.inputs[i];
      if (input.data != out)  // a caller that lets its tensor grow in place has this part there already
        nd_copy(team_of(device), kernels_, {bytes, input.dims, state.from_strides[i], state.to_strides}, input.data,
                out);
      out += input.dims[axis_] * state.to_strides[axis_] * bytes;
    }
  }

 private:
  size_t axis_;
  const KernelTable& kernels_;
};

PadMode kernel_mode(lathe::PadMode mode) {
  switch (mode) {
    case lathe::PadMode::reflect: return PadMode::reflect;
    case lathe::PadMode::edge: return PadMode::edge;
    case lathe::PadMode::wrap: return PadMode::wrap;
    default: return PadMode::constant;
  }
}

struct PadState : StepState {
  std::vector<int64_t> before, after;
};

class PadStep : public Step {
 public:
  PadStep(const lathe::Pad& op, const KernelTable& kernels) : op_(op), kernels_(kernels) {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<PadState>();
    state->before = io.symbols->evaluate(op_.begins);
    state->after = io.symbols->evaluate(op_.ends);
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    static constexpr std::byte kZero[16] = {};
    const auto& state = *static_cast<const PadState*>(prepared);
    const TensorRef& x = io.inputs[0];
    const bool has_value = io.inputs.size() > 1 && io.inputs[1].present;
    const Pad padding{element_bytes(x.dtype), x.dims,
                      state.before,           state.after,
                      kernel_mode(op_.mode),  has_value ? io.inputs[1].data : kZero};
    pad(team_of(device), kernels_, padding, x.data, io.outputs[0].data);
  }

 private:
  lathe::Pad op_;
  const KernelTable& kernels_;
};

// Row by row of the batch: its first elements in time are copied backwards, the rest as they are.
class ReverseSequenceStep : public Step {
 public:
  ReverseSequenceStep(const lathe::ReverseSequence& op, const KernelTable& kernels)
      : batch_(static_cast<size_t>(op.batch_axis)), time_(static_cast<size_t>(op.time_axis)), kernels_(kernels) {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    if (io.inputs[1].elements() != io.inputs[0].dims[batch_])
      fail(ErrorCode::invalid_argument, "{} lengths for {} sequences", io.inputs[1].elements(),
           io.inputs[0].dims[batch_]);
    auto state = std::make_unique<SliceState>();
    state->to_strides = dense_strides(io.inputs[0].dims);
    state->from_strides = state->to_strides;
    state->from_strides[time_] *= -1;
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const SliceState*>(prepared);
    const TensorRef &x = io.inputs[0], &lengths = io.inputs[1];
    const int64_t steps = x.dims[time_], bytes = element_bytes(x.dtype), step_bytes = state.to_strides[time_] * bytes;
    std::array<int64_t, kMaxCopyAxes> sizes;
    std::copy(x.dims.begin(), x.dims.end(), sizes.begin());
    sizes[batch_] = 1;
    const std::span<const int64_t> dims(sizes.data(), x.dims.size());
    for (int64_t b = 0; b < x.dims[batch_]; ++b) {
      const int64_t length = lengths.dtype == DType::i64 ? lengths.as<int64_t>()[b] : lengths.as<int32_t>()[b];
      if (length < 0 || length > steps)
        fail(ErrorCode::invalid_argument, "sequence {} has length {}, of {} steps", b, length, steps);
      const auto* from = x.as<std::byte>() + b * state.to_strides[batch_] * bytes;
      auto* to = io.outputs[0].as<std::byte>() + b * state.to_strides[batch_] * bytes;
      sizes[time_] = length;
      if (length > 0)
        nd_copy(team_of(device), kernels_, {bytes, dims, state.from_strides, state.to_strides},
                from + (length - 1) * step_bytes, to);
      sizes[time_] = steps - length;
      nd_copy(team_of(device), kernels_, {bytes, dims, state.to_strides, state.to_strides}, from + length * step_bytes,
              to + length * step_bytes);
    }
  }

 private:
  size_t batch_, time_;
  const KernelTable& kernels_;
};

// The one candidate that each of these ops has.
template <class S, class OpT>
Candidates copies(std::string kernel, const OpT& op, const Node& node, const Target& target) {
  if (std::string why = not_whole_bytes(node.output()->dtype()); !why.empty())
    return {decline(std::move(kernel), std::move(why))};
  if (node.output()->type().rank() > kMaxCopyAxes) return {decline(std::move(kernel), "too many axes")};
  return {accept(std::move(kernel), [&op, &kernels = target.kernels] { return plain_step<S>(op, kernels); })};
}

}  // namespace

Candidates lower(const lathe::Transpose& op, const Node& node, const Target& target) {
  return copies<TransposeStep>("transpose", op, node, target);
}

Candidates lower(const lathe::Slice& op, const Node& node, const Target& target) {
  return copies<SliceStep>("slice", op, node, target);
}

Candidates lower(const lathe::Concat& op, const Node& node, const Target& target) {
  return copies<ConcatStep>("concat", op, node, target);
}

Candidates lower(const lathe::Pad& op, const Node& node, const Target& target) {
  return copies<PadStep>("pad", op, node, target);
}

Candidates lower(const lathe::ReverseSequence& op, const Node& node, const Target& target) {
  return copies<ReverseSequenceStep>("reverse_sequence", op, node, target);
}

}  // namespace lathe::cpu
