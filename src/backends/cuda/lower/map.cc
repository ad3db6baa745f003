// Elementwise programs: one kernel generated per program. Neighbouring axes that all operands walk alike are merged
// when lowering, from the symbolic shapes; strides are filled in for each set of sizes.
#include <algorithm>

#include "backends/cuda/kernels/map_args.h"
#include "backends/cuda/lower/lower.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr size_t kPackBytes = 16;
constexpr int64_t kMaxIndex32 = int64_t{1} << 31;

// The size of `shape` along `axis` of an output of rank `rank`; 1 where the shape is shorter.
Dim dim_at(const Shape& shape, size_t axis, size_t rank) {
  const size_t missing = rank - shape.size();
  return axis < missing ? Dim(1) : shape[axis - missing];
}

// True when the operand either has all of both axes, or repeats along both.
bool walks_alike(const Shape& shape, const Shape& output, size_t axis) {
  const auto follows = [&](size_t a) { return dim_at(shape, a, output.size()) == output[a]; };
  const auto repeats = [&](size_t a) { return dim_at(shape, a, output.size()) == Dim(1) && output[a] != Dim(1); };
  return (follows(axis) && follows(axis + 1)) || (repeats(axis) && repeats(axis + 1));
}

// For every axis of the output, the merged axis that it belongs to.
std::vector<int> merge_axes(const Node& node, bool mergeable) {
  const Shape& output = node.output()->shape();
  std::vector<int> merged(output.size(), 0);
  for (size_t axis = 1; axis < output.size(); ++axis) {
    const bool alike = mergeable && std::all_of(node.inputs().begin(), node.inputs().end(), [&](const Value* input) {
                         return walks_alike(input->shape(), output, axis - 1);
                       });
    merged[axis] = merged[axis - 1] + (alike ? 0 : 1);
  }
  return merged;
}

struct MapState : StepState {
  MapArgs args{};
  const Kernel* kernel = nullptr;
  unsigned blocks = 0;
};

class MapStep : public Step {
 public:
  MapStep(const lathe::Map& op, const Node& node, const Target& target)
      : program_(op.program), types_(input_types(node)), target_(target) {
    axes_ = merge_axes(node, !op.program.uses_iota());
    rank_ = axes_.empty() ? 1 : static_cast<size_t>(axes_.back()) + 1;
    int widest = bit_width(node.output()->dtype());
    for (const DType type : types_) widest = std::max(widest, bit_width(type));
    vector_ = std::min<int64_t>(8, static_cast<int64_t>(kPackBytes) * 8 / widest);
    const std::string code = program_code(program_, types_);
    const auto kernel = [&](int64_t vector, const char* index) {
      return &target.kernels.request(
          {"map.cu",
           "map",
           {fmt::format("RANK={}", rank_), fmt::format("VECTOR={}", vector), fmt::format("INDEX={}", index)},
           code});
    };
    vector_kernel_ = kernel(vector_, "u32");
    scalar_kernel_ = kernel(1, "u32");
    large_kernel_ = [kernel] { return kernel(1, "u64"); };
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<MapState>();
    MapArgs& args = state->args;
    const TensorRef& output = io.outputs[0];
    std::fill_n(args.sizes, rank_, 1);
    for (size_t axis = 0; axis < axes_.size(); ++axis)
      args.sizes[axes_[axis]] *= static_cast<unsigned long long>(output.dims[axis]);
    for (size_t i = 0; i < io.inputs.size(); ++i) fill_strides(args.strides[i], io.inputs[i].dims, output.dims);
    for (size_t i = 0; i < program_.dims().size(); ++i) args.dims[i] = io.symbols->evaluate(program_.dims()[i]);
    int64_t vector = vector_;
    state->kernel = vector_kernel_;
    if (!vectorises(args, io.inputs.size())) {
      vector = 1;
      state->kernel = scalar_kernel_;
    }
    if (output.elements() >= kMaxIndex32) {
      vector = 1;
      state->kernel = large_kernel();
    }
    args.packs = static_cast<unsigned long long>(output.elements() / vector);
    state->blocks = static_cast<unsigned>(ceil_div(static_cast<int64_t>(args.packs), kThreads));
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const MapState*>(prepared);
    if (state.blocks == 0) return;
    MapArgs args = state.args;
    for (size_t i = 0; i < io.inputs.size(); ++i) args.inputs[i] = io.inputs[i].data;
    args.output = io.outputs[0].data;
    state.kernel->launch(stream_of(device), {state.blocks}, kThreads, 0, args);
  }

 private:
  // The strides of an input along the merged axes; those of one merged axis agree, so the last of its axes decides.
  void fill_strides(long long* strides, std::span<const int64_t> dims, std::span<const int64_t> output) const {
    const size_t missing = output.size() - dims.size();
    long long stride = 1;
    std::vector<bool> set(rank_, false);
    for (size_t axis = output.size(); axis-- > missing;) {
      const int64_t size = dims[axis - missing];
      const auto merged = static_cast<size_t>(axes_[axis]);
      const bool decides = !set[merged] && output[axis] != 1;
      if (decides) {
        strides[merged] = size == 1 ? 0 : stride;
        set[merged] = true;
      }
      stride *= size;
    }
  }

  bool vectorises(const MapArgs& args, size_t inputs) const {
    if (args.sizes[rank_ - 1] % static_cast<unsigned long long>(vector_) != 0) return false;
    for (size_t i = 0; i < inputs; ++i) {
      if (args.strides[i][rank_ - 1] != 1) continue;
      for (size_t axis = 0; axis + 1 < rank_; ++axis)
        if (args.strides[i][axis] % vector_ != 0) return false;
    }
    return true;
  }

  const Kernel* large_kernel() const {
    const Kernel* kernel = large_kernel_();
    target_.kernels.build();
    return kernel;
  }

  const MapProgram& program_;
  std::vector<DType> types_;
  const Target& target_;
  std::vector<int> axes_;
  size_t rank_ = 1;
  int64_t vector_ = 1;
  const Kernel *vector_kernel_, *scalar_kernel_;
  std::function<const Kernel*()> large_kernel_;
};

}  // namespace

Candidates lower(const lathe::Map& op, const Node& node, const Target& target) {
  if (std::string why = why_unsupported(op.program, input_types(node)); !why.empty()) return {decline("map", why)};
  if (node.inputs().size() > kMapMaxInputs) return {decline("map", "too many inputs")};
  if (op.program.dims().size() > kMapMaxDims) return {decline("map", "too many dimension expressions")};
  if (merge_axes(node, !op.program.uses_iota()).size() > kMapMaxRank) return {decline("map", "rank above 8")};
  return {accept("map", [&op, &node, &target] { return Lowered{std::make_unique<MapStep>(op, node, target), {}}; })};
}

}  // namespace lathe::cuda
