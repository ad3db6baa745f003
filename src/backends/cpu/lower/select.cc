// Ops whose result depends on comparing elements. How many rows non_zero and nms give shows only when they run; how
// many tokens pack_tokens gives is mostly known before.
#include <algorithm>

#include "backends/cpu/kernels/nms.h"
#include "backends/cpu/kernels/non_zero.h"
#include "backends/cpu/kernels/top_k.h"
#include "backends/cpu/lower/lower.h"
#include "base/error.h"
#include "graph/token_packing.h"

namespace lathe::cpu {
namespace {

struct TopKState : StepState {
  TopK shape{};
};

class TopKStep : public Step {
 public:
  TopKStep(const lathe::TopK& op, size_t axis, const KernelTable& kernels)
      : axis_(axis), largest_(op.largest), kernels_(kernels) {}

  size_t workspace_bytes(const StepIo& io) const override { return top_k_workspace_bytes(shape_of(io), io.threads); }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<TopKState>();
    state->shape = shape_of(io);
    if (state->shape.k > state->shape.size)
      fail(ErrorCode::invalid_argument, "cannot select {} of the {} elements along axis {}", state->shape.k,
           state->shape.size, axis_);
    if (state->shape.size > UINT32_MAX)
      fail(ErrorCode::unsupported, "selects from at most {} elements, not {}", UINT32_MAX, state->shape.size);
    return state;
  }

  void run(const StepIo& io, const StepState* state, void* workspace, DeviceContext& device) const override {
    TopK t = static_cast<const TopKState*>(state)->shape;
    t.x = io.inputs[0].data;
    t.values = io.outputs[0].data;
    t.indices = io.outputs[1].as<int64_t>();
    top_k(team_of(device), kernels_, t, static_cast<std::byte*>(workspace));
  }

 private:
  TopK shape_of(const StepIo& io) const {
    const auto& dims = io.inputs[0].dims;
    TopK t{1, dims[axis_], 1, io.outputs[0].dims[axis_], largest_, io.inputs[0].dtype, nullptr, nullptr, nullptr};
    for (size_t a = 0; a < axis_; ++a) t.outer *= dims[a];
    for (size_t a = axis_ + 1; a < dims.size(); ++a) t.inner *= dims[a];
    return t;
  }

  size_t axis_;
  bool largest_;
  const KernelTable& kernels_;
};

// Memory for an output of these sizes: what the executor has given, or, for sizes only the step knows, what it gives
// now.
int64_t* output_of(const StepIo& io, std::initializer_list<int64_t> sizes) {
  const TensorRef& out = io.outputs[0];
  const std::span<const int64_t> dims(sizes.begin(), sizes.size());
  if (out.data == nullptr) return static_cast<int64_t*>(io.allocator->allocate(0, DType::i64, dims));
  if (!std::equal(dims.begin(), dims.end(), out.dims.begin(), out.dims.end()))
    fail(ErrorCode::invalid_argument, "the result has shape {}, the model expects {}", to_string(dims),
         to_string(out.dims));
  return out.as<int64_t>();
}

class NonZeroStep : public Step {
 public:
  size_t workspace_bytes(const StepIo& io) const override { return counts_of(io) * sizeof(int64_t); }
  void run(const StepIo& io, const StepState*, void* workspace, DeviceContext& device) const override {
    const TensorRef& x = io.inputs[0];
    const auto rank = static_cast<int64_t>(x.dims.size());
    const std::span<int64_t> counts(static_cast<int64_t*>(workspace), counts_of(io));
    non_zero(team_of(device), x.dtype, x.dims, x.data, counts, [&](int64_t count) {
      return output_of(io, {rank, count});
    });
  }

 private:
  static size_t counts_of(const StepIo& io) { return static_cast<size_t>(io.threads) + 1; }
};

class PackTokensStep : public Step {
 public:
  explicit PackTokensStep(const lathe::PackTokens& op) : op_(op) {}

  void run(const StepIo& io, const StepState*, void*, DeviceContext&) const override {
    const TensorRef& x = io.inputs[0];
    const TokenMask mask{x.dtype, x.data, x.dims[0], x.dims[1]};
    const auto fill = [&](void* tokens, int64_t size) {
      const auto all = [&](const TensorRef& out) {
        return std::span(out.as<int32_t>(), static_cast<size_t>(out.elements()));
      };
      pack_tokens(op_, mask, {static_cast<int32_t*>(tokens), static_cast<size_t>(size)}, all(io.outputs[1]),
                  all(io.outputs[2]));
    };
    const TensorRef& tokens = io.outputs[0];
    if (tokens.data != nullptr) return fill(tokens.data, tokens.elements());
    const int64_t size = packed_size(op_, mask);
    fill(io.allocator->allocate(0, DType::i32, {&size, 1}), size);
  }

 private:
  lathe::PackTokens op_;
};

class NmsStep : public Step {
 public:
  NmsStep(const lathe::Nms& op, const KernelTable& kernels) : op_(op), kernels_(kernels) {}

  void run(const StepIo& io, const StepState*, void*, DeviceContext& device) const override {
    const TensorRef &boxes = io.inputs[0], &scores = io.inputs[1];
    if (boxes.dims[2] != 4 || boxes.dims[0] != scores.dims[0] || boxes.dims[1] != scores.dims[2])
      fail(ErrorCode::invalid_argument, "boxes of shape {} and scores of shape {} do not fit", to_string(boxes.dims),
           to_string(scores.dims));
    if (boxes.dims[1] > UINT32_MAX)
      fail(ErrorCode::unsupported, "selects from at most {} boxes, not {}", UINT32_MAX, boxes.dims[1]);
    Nms n{};
    n.batch = scores.dims[0];
    n.classes = scores.dims[1];
    n.count = scores.dims[2];
    n.boxes = boxes.as<const float>();
    n.scores = scores.as<const float>();
    n.max_per_class = io.symbols->evaluate(op_.max_per_class);
    n.iou_threshold = static_cast<float>(op_.iou_threshold);
    if (op_.score_threshold) n.score_threshold = static_cast<float>(*op_.score_threshold);
    n.center_point = op_.center_point;
    const std::vector<int64_t> rows = nms(team_of(device), kernels_, n);
    int64_t* out = output_of(io, {static_cast<int64_t>(rows.size()) / 3, 3});
    std::copy(rows.begin(), rows.end(), out);
  }

 private:
  lathe::Nms op_;
  const KernelTable& kernels_;
};

}  // namespace

Candidates lower(const lathe::TopK& op, const Node& node, const Target& target) {
  const Type& x = node.input(0)->type();
  if (!can_select(x.dtype)) return {decline("top_k", "does not compare elements of type " + to_string(x))};
  const auto axis = static_cast<size_t>(op.axis < 0 ? op.axis + x.rank() : op.axis);
  return {accept("top_k", [&op, axis, &kernels = target.kernels] { return plain_step<TopKStep>(op, axis, kernels); })};
}

Candidates lower(const lathe::NonZero&, const Node& node, const Target&) {
  const Type& x = node.input(0)->type();
  if (!can_test_for_zero(x.dtype)) return {decline("non_zero", "does not read elements of type " + to_string(x))};
  return {accept("non_zero", [] { return plain_step<NonZeroStep>(); })};
}

Candidates lower(const lathe::PackTokens& op, const Node&, const Target&) {
  return {accept("pack_tokens", [&op] { return plain_step<PackTokensStep>(op); })};
}

Candidates lower(const lathe::Nms& op, const Node& node, const Target& target) {
  if (node.input(0)->dtype() != DType::f32)
    return {decline("nms", "computes in f32 only, not " + to_string(node.input(0)->type()))};
  return {accept("nms", [&op, &kernels = target.kernels] { return plain_step<NmsStep>(op, kernels); })};
}

}  // namespace lathe::cpu
