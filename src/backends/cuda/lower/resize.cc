// Interpolation. Axes that keep their size are merged with their neighbours; those that are resized, three at most, go
// to one kernel.
#include <algorithm>

#include "backends/cuda/kernels/resize_args.h"
#include "backends/cuda/lower/lower.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int64_t kMaxIndex32 = int64_t{1} << 31;

struct ResizedAxis {
  size_t axis;   // of the tensor
  size_t entry;  // of the op's lists
};

// The axes that change, in the order of the tensor. One that keeps its size is copied, unless it is cropped.
std::vector<ResizedAxis> resized_axes(const lathe::Resize& op, const Node& node) {
  const Shape& x = node.input(0)->shape();
  std::vector<ResizedAxis> axes;
  for (size_t i = 0; i < op.axes.size(); ++i) {
    const auto axis = static_cast<size_t>(op.axes[i] < 0 ? op.axes[i] + static_cast<int64_t>(x.size()) : op.axes[i]);
    const double scale = i < op.scales.size() ? op.scales[i] : 0;
    const bool kept = x[axis] == node.output()->shape()[axis] && (scale <= 0 || scale == 1) &&
                      op.coordinates != ResizeCoordinates::tf_crop_and_resize;
    if (!kept) axes.push_back({axis, i});
  }
  std::sort(axes.begin(), axes.end(), [](const ResizedAxis& a, const ResizedAxis& b) { return a.axis < b.axis; });
  if (axes.empty()) axes.push_back({0, op.axes.size()});  // a copy, axis 0 resized to its own size
  return axes;
}

struct ResizeState : StepState {
  ResizeArgs args{};
  const Kernel* kernel = nullptr;
};

class ResizeStep : public Step {
 public:
  ResizeStep(const lathe::Resize& op, const Node& node, const Target& target)
      : op_(op),
        type_(node.input(0)->dtype()),
        target_(target),
        axes_(resized_axes(op, node)),
        vector_(128 / bit_width(type_)) {
    vector_kernel_ = request(vector_, "u32");
    scalar_kernel_ = request(1, "u32");
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<ResizeState>();
    ResizeArgs& args = state->args;
    const auto& x = io.inputs[0].dims;
    const auto size_between = [&](size_t begin, size_t end) {
      int64_t size = 1;
      for (size_t axis = begin; axis < end; ++axis) size *= x[axis];
      return size;
    };
    size_t begin = 0;
    for (size_t i = 0; i < axes_.size(); ++i) {
      const size_t axis = axes_[i].axis;
      args.groups[i] = static_cast<unsigned long long>(size_between(begin, axis));
      args.group_strides[i] = size_between(axis, x.size());
      args.axes[i] = geometry(axes_[i], x[axis], io.outputs[0].dims[axis]);
      args.axes[i].stride = size_between(axis + 1, x.size());
      begin = axis + 1;
    }
    const int64_t inner = size_between(begin, x.size());
    args.groups[axes_.size()] = static_cast<unsigned long long>(inner);
    args.cubic_coefficient = op_.cubic_coefficient;
    args.extrapolation_value = op_.extrapolation_value;
    const int64_t elements = io.outputs[0].elements();
    const bool vectorises = inner % vector_ == 0;
    state->kernel = vectorises ? vector_kernel_ : scalar_kernel_;
    if (elements >= kMaxIndex32) {
      state->kernel = request(vectorises ? vector_ : 1, "u64");
      target_.kernels.build();
    }
    args.packs = static_cast<unsigned long long>(elements / (vectorises ? vector_ : 1));
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const ResizeState*>(prepared);
    ResizeArgs args = state.args;
    if (args.packs == 0) return;
    args.input = io.inputs[0].data;
    args.output = io.outputs[0].data;
    const auto blocks = static_cast<unsigned>(ceil_div(static_cast<int64_t>(args.packs), kThreads));
    state.kernel->launch(stream_of(device), {blocks}, kThreads, 0, args);
  }

 private:
  ResizeAxis geometry(const ResizedAxis& resized, int64_t in, int64_t out) const {
    if (in == 0 && out > 0) fail(ErrorCode::invalid_argument, "axis {} has nothing to interpolate", resized.axis);
    const double scale = resized.entry < op_.scales.size() ? op_.scales[resized.entry] : 0;
    ResizeAxis axis{};
    axis.in = static_cast<int>(in);
    axis.out = static_cast<int>(out);
    axis.scale = scale > 0 ? scale : static_cast<double>(out) / static_cast<double>(std::max<int64_t>(in, 1));
    if (op_.coordinates == ResizeCoordinates::tf_crop_and_resize && resized.entry < op_.axes.size()) {
      axis.roi_start = op_.roi[resized.entry];
      axis.roi_end = op_.roi[op_.axes.size() + resized.entry];
    }
    return axis;
  }

  const Kernel* request(int64_t vector, std::string_view index) const {
    const bool wide = !computes_as_float(type_) || type_ == DType::f64;  // integers pass through f64
    return &target_.kernels.request(
        {"resize.cu",
         "resize",
         {fmt::format("MODE={}", static_cast<int>(op_.mode)),
          fmt::format("COORDINATES={}", static_cast<int>(op_.coordinates)),
          fmt::format("NEAREST={}", static_cast<int>(op_.nearest)), fmt::format("ANTIALIAS={}", op_.antialias ? 1 : 0),
          fmt::format("EXCLUDE_OUTSIDE={}", op_.exclude_outside ? 1 : 0), fmt::format("AXES={}", axes_.size()),
          fmt::format("TYPE={}", cuda_type(type_)), fmt::format("WIDE={}", wide ? "double" : "float"),
          fmt::format("INDEX={}", index), fmt::format("VECTOR={}", vector)},
         {}});
  }

  const lathe::Resize& op_;
  DType type_;
  const Target& target_;
  std::vector<ResizedAxis> axes_;
  int64_t vector_;
  const Kernel *vector_kernel_, *scalar_kernel_;
};

std::string why_not(const lathe::Resize& op, const Node& node) {
  const DType type = node.input(0)->dtype();
  if (cuda_type(type).empty() || type == DType::boolean) return "no interpolation of " + std::string(to_string(type));
  if (node.input(0)->shape().empty()) return "a scalar has no axes";
  if (resized_axes(op, node).size() > kResizeMaxAxes) return "more than three axes change";
  if (op.coordinates == ResizeCoordinates::tf_crop_and_resize && op.roi.size() != 2 * op.axes.size())
    return "the region of interest does not fit the axes";
  return {};
}

}  // namespace

Candidates lower(const lathe::Resize& op, const Node& node, const Target& target) {
  if (std::string why = why_not(op, node); !why.empty()) return {decline("resize", std::move(why))};
  return {accept_step<ResizeStep>("resize", op, node, target)};
}

}  // namespace lathe::cuda
