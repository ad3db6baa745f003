// Rotary position embedding: rows over the thread team, angles found by broadcasting over the leading axes.
#include <cstring>

#include "backends/cpu/kernels/rotary_kernels.h"
#include "backends/cpu/lower/lower.h"

namespace lathe::cpu {
namespace {

constexpr int64_t kRowsPerThread = 16;  // fewer are not worth a fork

struct RotaryState : StepState {
  std::vector<int64_t> dims, cos_strides, sin_strides;  // of the leading axes

  static int64_t offset(int64_t row, std::span<const int64_t> dims, std::span<const int64_t> strides) {
    int64_t offset = 0;
    for (size_t a = dims.size(); a-- > 0;) {
      offset += row % dims[a] * strides[a];
      row /= dims[a];
    }
    return offset;
  }
};

class RotaryStep : public Step {
 public:
  RotaryStep(const lathe::Rotary& op, const RotaryKernels& kernels) : op_(op), kernels_(kernels) {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<RotaryState>();
    const auto& dims = io.inputs[0].dims;
    state->dims.assign(dims.begin(), dims.end() - 1);
    state->cos_strides = broadcast_strides(io.inputs[1].dims, dims);
    state->sin_strides = broadcast_strides(io.inputs[2].dims, dims);
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const RotaryState*>(prepared);
    const int64_t width = io.inputs[0].dims.back(), half = op_.rotary_dim / 2;
    const auto *x = io.inputs[0].as<const float>(), *cos = io.inputs[1].as<const float>(),
               *sin = io.inputs[2].as<const float>();
    auto* y = io.outputs[0].as<float>();
    const int64_t rows = io.outputs[0].elements() / std::max<int64_t>(width, 1);
    const auto rest = static_cast<size_t>(width - op_.rotary_dim) * sizeof(float);
    const auto rotate = [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        const float* from = x + row * width;
        float* to = y + row * width;
        kernels_.rotate(from, cos + state.offset(row, state.dims, state.cos_strides),
                        sin + state.offset(row, state.dims, state.sin_strides), half, op_.interleaved, to);
        if (rest > 0) std::memcpy(to + op_.rotary_dim, from + op_.rotary_dim, rest);
      }
    };
    if (rows < 2 * kRowsPerThread)
      rotate(0, rows, 0);
    else
      team_of(device).parallel_for(rows, rotate);
  }

 private:
  lathe::Rotary op_;
  const RotaryKernels& kernels_;
};

}  // namespace

Candidates lower(const lathe::Rotary& op, const Node& node, const Target& target) {
  if (std::string why = not_f32(node); !why.empty()) return {decline("rotary", std::move(why))};
  return {accept("rotary", [&op, &kernels = target.kernels.rotary] { return plain_step<RotaryStep>(op, kernels); })};
}

}  // namespace lathe::cpu
