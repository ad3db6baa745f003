// Reductions: f32 on kernels, the other types that models reduce in plain loops.
#include "backends/cpu/kernels/reduce.h"

#include "backends/cpu/lower/lower.h"
#include "backends/cpu/lower/plain_reduce.h"
#include "base/error.h"

namespace lathe::cpu {
namespace {

ReduceKind kernel_kind(lathe::ReduceKind kind) {
  switch (kind) {
    case lathe::ReduceKind::sum: return ReduceKind::sum;
    case lathe::ReduceKind::mean: return ReduceKind::mean;
    case lathe::ReduceKind::max: return ReduceKind::max;
    case lathe::ReduceKind::min: return ReduceKind::min;
    case lathe::ReduceKind::prod: return ReduceKind::product;
    case lathe::ReduceKind::l1: return ReduceKind::l1;
    case lathe::ReduceKind::l2: return ReduceKind::l2;
    case lathe::ReduceKind::log_sum: return ReduceKind::log_sum;
    case lathe::ReduceKind::log_sum_exp: return ReduceKind::log_sum_exp;
    case lathe::ReduceKind::sum_square: return ReduceKind::sum_square;
  }
  fail(ErrorCode::internal, "unknown reduction");
}

bool is_reduced(const lathe::Reduce& op, size_t axis) {
  return std::find(op.axes.begin(), op.axes.end(), static_cast<int64_t>(axis)) != op.axes.end();
}

class ReduceStep : public Step {
 public:
  ReduceStep(const lathe::Reduce& op, size_t rank, const KernelTable& kernels)
      : kind_(kernel_kind(op.kind)), rank_(rank), kernels_(kernels) {
    for (size_t a = 0; a < rank; ++a) reduced_[a] = is_reduced(op, a);
  }

  void run(const StepIo& io, const StepState*, void*, DeviceContext& device) const override {
    reduce(team_of(device), kernels_, kind_, io.inputs[0].dims, {reduced_, rank_}, io.inputs[0].as<const float>(),
           io.outputs[0].as<float>());
  }

 private:
  ReduceKind kind_;
  size_t rank_;
  bool reduced_[kMaxReduceAxes] = {};
  const KernelTable& kernels_;
};

// Calls f with a null pointer of the C++ type, for the types of plain_reduce.h; false for other types.
template <class F>
bool visit_plain(DType type, F&& f) {
  switch (type) {
    case DType::f64: f(static_cast<const double*>(nullptr)); return true;
    case DType::i64: f(static_cast<const int64_t*>(nullptr)); return true;
    case DType::i32: f(static_cast<const int32_t*>(nullptr)); return true;
    case DType::f32: f(static_cast<const float*>(nullptr)); return true;
    default: return false;
  }
}

bool plain_type(DType type) {
  return visit_plain(type, [](auto*) {});
}

struct PlainReduceState : StepState {
  PlainAxes axes;
};

class PlainReduceStep : public Step {
 public:
  explicit PlainReduceStep(const lathe::Reduce& op) : op_(op) {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<PlainReduceState>();
    const auto& dims = io.inputs[0].dims;
    const std::vector<int64_t> strides = dense_strides(dims);
    for (size_t a = 0; a < dims.size(); ++a) {
      const bool reduced = is_reduced(op_, a);
      (reduced ? state->axes.reduced : state->axes.kept).push_back(dims[a]);
      (reduced ? state->axes.reduced_strides : state->axes.kept_strides).push_back(strides[a]);
    }
    return state;
  }

  void run(const StepIo& io, const StepState* state, void*, DeviceContext&) const override {
    visit_plain(io.inputs[0].dtype, [&]<class T>(const T*) {
      plain_reduce<T>(op_.kind, static_cast<const PlainReduceState*>(state)->axes, io.inputs[0].as<const T>(),
                      io.outputs[0].as<T>());
    });
  }

 private:
  lathe::Reduce op_;
};

class ArgReduceStep : public Step {
 public:
  explicit ArgReduceStep(const lathe::ArgReduce& op) : op_(op) {}

  void run(const StepIo& io, const StepState*, void*, DeviceContext& device) const override {
    const TensorRef& x = io.inputs[0];
    const AxisView view = view_along(x.dims, op_.axis < 0 ? op_.axis + static_cast<int64_t>(x.dims.size()) : op_.axis);
    auto* out = io.outputs[0].as<int64_t>();
    if (view.outer * view.inner == 0) return;
    if (view.axis == 0)
      fail(ErrorCode::invalid_argument, "axis {} of shape {} has no elements to choose from", op_.axis,
           to_string(x.dims));
    if (x.dtype == DType::f32)
      return arg_extreme(team_of(device), view, op_.largest, op_.select_last, x.as<const float>(), out);
    visit_plain(x.dtype, [&]<class T>(const T*) {
      plain_arg_extreme<T>(view, op_.largest, op_.select_last, x.as<const T>(), out);
    });
  }

 private:
  lathe::ArgReduce op_;
};

class CumulativeStep : public Step {
 public:
  explicit CumulativeStep(const lathe::Cumulative& op) : op_(op) {}

  void run(const StepIo& io, const StepState*, void*, DeviceContext& device) const override {
    const TensorRef& x = io.inputs[0];
    const AxisView view = view_along(x.dims, op_.axis < 0 ? op_.axis + static_cast<int64_t>(x.dims.size()) : op_.axis);
    if (x.dtype == DType::f32 && op_.kind == CumulativeKind::sum)
      return cumulative_sum(team_of(device), view, op_.exclusive, op_.reverse, x.as<const float>(),
                            io.outputs[0].as<float>());
    visit_plain(x.dtype,
                [&]<class T>(const T*) { plain_cumulative<T>(op_, view, x.as<const T>(), io.outputs[0].as<T>()); });
  }

 private:
  lathe::Cumulative op_;
};

std::string no_loop(DType type) { return fmt::format("no loop over {}", to_string(type)); }

}  // namespace

Candidates lower(const lathe::Reduce& op, const Node& node, const Target& target) {
  const Type& x = node.input(0)->type();
  if (x.rank() > kMaxReduceAxes) return {decline("reduce", "too many axes")};
  if (x.dtype == DType::f32) {
    const auto rank = static_cast<size_t>(x.rank());
    return {
        accept("reduce", [&op, rank, &kernels = target.kernels] { return plain_step<ReduceStep>(op, rank, kernels); })};
  }
  if (!plain_type(x.dtype)) return {decline("reduce_plain", no_loop(x.dtype))};
  if (!plain_reduce_serves(op.kind)) return {decline("reduce_plain", "this kind is computed in f32 only")};
  return {accept("reduce_plain", [&op] { return plain_step<PlainReduceStep>(op); })};
}

Candidates lower(const lathe::ArgReduce& op, const Node& node, const Target&) {
  if (!plain_type(node.input(0)->dtype())) return {decline("arg_reduce", no_loop(node.input(0)->dtype()))};
  return {accept("arg_reduce", [&op] { return plain_step<ArgReduceStep>(op); })};
}

Candidates lower(const lathe::Cumulative& op, const Node& node, const Target&) {
  if (!plain_type(node.input(0)->dtype())) return {decline("cumulative", no_loop(node.input(0)->dtype()))};
  return {accept("cumulative", [&op] { return plain_step<CumulativeStep>(op); })};
}

}  // namespace lathe::cpu
