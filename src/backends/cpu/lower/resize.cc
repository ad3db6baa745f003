// Interpolation. The kernel resizes up to three neighbouring axes: what lies before them is its batch, what lies behind
// its channels, whatever the model calls them.
#include "backends/cpu/kernels/resize.h"

#include "backends/cpu/lower/lower.h"
#include "base/error.h"

namespace lathe::cpu {
namespace {

ResizeMode kernel_mode(lathe::ResizeMode mode) {
  switch (mode) {
    case lathe::ResizeMode::linear: return ResizeMode::linear;
    case lathe::ResizeMode::cubic: return ResizeMode::cubic;
    default: return ResizeMode::nearest;
  }
}

ResizeCoordinates kernel_coordinates(lathe::ResizeCoordinates coordinates) {
  switch (coordinates) {
    case lathe::ResizeCoordinates::half_pixel: return ResizeCoordinates::half_pixel;
    case lathe::ResizeCoordinates::half_pixel_symmetric: return ResizeCoordinates::half_pixel_symmetric;
    case lathe::ResizeCoordinates::pytorch_half_pixel: return ResizeCoordinates::pytorch_half_pixel;
    case lathe::ResizeCoordinates::align_corners: return ResizeCoordinates::align_corners;
    case lathe::ResizeCoordinates::asymmetric: return ResizeCoordinates::asymmetric;
    case lathe::ResizeCoordinates::tf_crop_and_resize: return ResizeCoordinates::tf_crop_and_resize;
  }
  fail(ErrorCode::internal, "unknown coordinate transformation");
}

ResizeRounding kernel_rounding(ResizeNearest nearest) {
  switch (nearest) {
    case ResizeNearest::round_prefer_ceil: return ResizeRounding::round_prefer_ceil;
    case ResizeNearest::floor: return ResizeRounding::floor;
    case ResizeNearest::ceil: return ResizeRounding::ceil;
    default: return ResizeRounding::round_prefer_floor;
  }
}

ResizeOptions options_of(const lathe::Resize& op) {
  ResizeOptions options;
  options.mode = kernel_mode(op.mode);
  options.coordinates = kernel_coordinates(op.coordinates);
  options.rounding = kernel_rounding(op.nearest);
  options.cubic_a = static_cast<float>(op.cubic_coefficient);
  options.exclude_outside = op.exclude_outside;
  options.antialias = op.antialias;
  options.extrapolation = static_cast<float>(op.extrapolation_value);
  return options;
}

// The axes that change: `entry[i]` is the position in the op's lists of axis first + i, or -1 for one in between that
// stays.
struct ResizedAxes {
  size_t first = 0;
  std::vector<int> entry;
};

// An axis in the list that keeps its size, as importers write them for batch and channels.
bool stays(const lathe::Resize& op, size_t i, const Shape& x) {
  const bool same_scale = i >= op.scales.size() || op.scales[i] == 0 || op.scales[i] == 1;
  return op.coordinates != lathe::ResizeCoordinates::tf_crop_and_resize && same_scale &&
         op.sizes[i] == x[static_cast<size_t>(op.axes[i])];
}

ResizedAxes resized_axes(const lathe::Resize& op, const Shape& x) {
  std::vector<int> entry_of(x.size(), -1);
  for (size_t i = 0; i < op.axes.size(); ++i)
    if (!stays(op, i, x)) entry_of[static_cast<size_t>(op.axes[i])] = static_cast<int>(i);
  ResizedAxes axes;
  while (!entry_of.empty() && entry_of.back() < 0) entry_of.pop_back();
  while (axes.first < entry_of.size() && entry_of[axes.first] < 0) ++axes.first;
  axes.entry.assign(entry_of.begin() + static_cast<std::ptrdiff_t>(axes.first), entry_of.end());
  return axes;
}

struct ResizeState : StepState {
  Resize resize;
};

class ResizeStep : public Step {
 public:
  ResizeStep(const lathe::Resize& op, ResizedAxes axes, const KernelTable& kernels)
      : op_(op), axes_(std::move(axes)), kernels_(kernels) {}

  size_t workspace_bytes(const StepIo& io) const override { return resize_workspace_bytes(plan(io), io.threads); }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<ResizeState>();
    state->resize = plan(io);
    return state;
  }

  void run(const StepIo& io, const StepState* state, void* workspace, DeviceContext& device) const override {
    if (io.outputs[0].elements() == 0) return;
    resize(team_of(device), kernels_, static_cast<const ResizeState*>(state)->resize, io.inputs[0].as<const float>(),
           io.outputs[0].as<float>(), static_cast<std::byte*>(workspace));
  }

 private:
  Resize plan(const StepIo& io) const {
    const auto &x = io.inputs[0].dims, &y = io.outputs[0].dims;
    const ResizeOptions options = options_of(op_);
    Resize r;
    r.extrapolation = options.extrapolation;
    for (size_t a = 0; a < axes_.first; ++a) r.batch *= x[a];
    for (size_t a = axes_.first + axes_.entry.size(); a < x.size(); ++a) r.channels *= x[a];
    r.nchw = r.channels == 1;
    for (ResizeAxis& axis : r.axes) axis = make_resize_axis({}, 1, 1, 1.0);
    if (io.outputs[0].elements() == 0) return r;
    for (size_t i = 0; i < axes_.entry.size(); ++i) {
      const size_t axis = axes_.first + i;
      ResizeAxis& target = r.axes[3 - axes_.entry.size() + i];
      target = axes_.entry[i] < 0 ? make_resize_axis({}, x[axis], x[axis], 1.0)
                                  : resized(options, static_cast<size_t>(axes_.entry[i]), x[axis], y[axis]);
    }
    return r;
  }

  ResizeAxis resized(const ResizeOptions& options, size_t entry, int64_t in, int64_t out) const {
    const double given = entry < op_.scales.size() ? op_.scales[entry] : 0;
    if (in == 0) fail(ErrorCode::invalid_argument, "axis {} has nothing to interpolate", op_.axes[entry]);
    const double scale = given > 0 ? given : static_cast<double>(out) / static_cast<double>(in);
    if (options.coordinates != ResizeCoordinates::tf_crop_and_resize) return make_resize_axis(options, in, out, scale);
    return make_resize_axis(options, in, out, scale, op_.roi[entry], op_.roi[op_.axes.size() + entry]);
  }

  lathe::Resize op_;
  ResizedAxes axes_;
  const KernelTable& kernels_;
};

}  // namespace

Candidates lower(const lathe::Resize& op, const Node& node, const Target& target) {
  if (node.input(1) != nullptr) return {decline("resize", "only the run knows the scales")};
  if (std::string why = not_f32(node); !why.empty()) return {decline("resize", std::move(why))};
  ResizedAxes axes = resized_axes(op, node.input(0)->shape());
  if (axes.entry.size() > 3) return {decline("resize", "the resized axes are more than three, or lie too far apart")};
  return {
      accept("resize", [&op, axes, &kernels = target.kernels] { return plain_step<ResizeStep>(op, axes, kernels); })};
}

}  // namespace lathe::cpu
