// Rotary position embedding: packs where rows allow them.
#include "backends/cuda/lower/rotary.h"

#include <algorithm>

#include "backends/cuda/lower/space.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

constexpr int64_t kThreads = 256;
constexpr int64_t kFewTokens = 64;  // where launches take longer than what they do

// Without its last axis; scalars do not come here.
Shape leading(Shape shape) {
  shape.pop_back();
  return shape;
}

BroadcastSpace space_of(const Node& node) {
  return BroadcastSpace(leading(node.output()->shape()),
                        {leading(node.inputs()[1]->shape()), leading(node.inputs()[2]->shape())}, {});
}

bool is_read_by_attention(const Value& value) {
  const auto users = value.users();
  return std::any_of(users.begin(), users.end(), [](const Node* user) {
    return user->is<lathe::PagedAttention>() || (user->is<lathe::Reshape>() && is_read_by_attention(*user->output()));
  });
}

struct RotaryState : StepState {
  RotaryArgs args{};
  const Kernel* kernel = nullptr;
  unsigned blocks = 0;
};

class RotaryStep : public Step {
 public:
  RotaryStep(const lathe::Rotary& op, const Node& node, const Target& target)
      : op_(op), space_(space_of(node)), before_attention_(is_read_by_attention(*node.output())) {
    int widest = 0;
    for (const DType input : input_types(node)) widest = std::max(widest, bit_width(input));
    vector_ = 128 / widest;
    const auto kernel = [&](int vector) {
      std::vector<std::string> defines = rotary_defines(node);
      defines.push_back(fmt::format("ELEMENT={}", cuda_type(node.output()->dtype())));
      defines.push_back(fmt::format("VECTOR={}", vector));
      return &target.kernels.request({"rotary.cu", "rotary", std::move(defines), {}});
    };
    packed_ = kernel(vector_);
    single_ = kernel(1);
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<RotaryState>();
    RotaryArgs& args = state->args;
    const auto dims = io.outputs[0].dims;
    args.width = dims.back();
    args.half = op_.rotary_dim / 2;
    if (io.outputs[0].elements() == 0) return state;
    args.rows = io.outputs[0].elements() / args.width;
    const auto lead = dims.first(dims.size() - 1);
    space_.fill_sizes(lead, args.sizes);
    fill_strides(io.inputs[1], lead, args.cos_strides);
    fill_strides(io.inputs[2], lead, args.sin_strides);
    const bool packed = args.half % vector_ == 0 && args.width % (2 * vector_) == 0;
    state->kernel = packed ? packed_ : single_;
    const int64_t per_row = ceil_div(args.width, 2) / (packed ? vector_ : 1);
    state->blocks = static_cast<unsigned>(ceil_div(args.rows * per_row, kThreads));
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const RotaryState*>(prepared);
    if (state.blocks == 0) return;
    RotaryArgs args = state.args;
    args.x = io.inputs[0].data;
    args.cos = io.inputs[1].data;
    args.sin = io.inputs[2].data;
    args.y = io.outputs[0].data;
    const RotaryLaunch::One launch{args, state.kernel, state.blocks, kThreads};
    auto& context = static_cast<CudaContext&>(device);
    if (before_attention_ && io.outputs[0].dims[0] <= kFewTokens)
      defer(launch, context);
    else
      state.kernel->launch(context.stream(), {launch.blocks}, launch.threads, 0, launch.args);
  }

 private:
  static void defer(const RotaryLaunch::One& launch, CudaContext& context) {
    std::unique_ptr<Deferred> before = context.take_deferred();
    const auto* earlier = dynamic_cast<const RotaryLaunch*>(before.get());
    if (earlier == nullptr || earlier->all().size() == RotaryLaunch::kMost) {
      if (before != nullptr) before->launch(context.stream());
      before = std::make_unique<RotaryLaunch>(before != nullptr && before->holds_back_next());
    }
    static_cast<RotaryLaunch&>(*before).add(launch);
    context.defer(std::move(before));
  }

  // Rows of a table are as long as there are pairs.
  void fill_strides(const TensorRef& table, std::span<const int64_t> lead, long long* strides) const {
    space_.fill_strides(table.dims.first(table.dims.size() - 1), lead, strides);
    for (size_t axis = 0; axis < space_.rank(); ++axis) strides[axis] *= op_.rotary_dim / 2;
  }

  const lathe::Rotary& op_;
  BroadcastSpace space_;
  bool before_attention_;
  int vector_ = 1;
  const Kernel *packed_, *single_;
};

}  // namespace

std::vector<std::string> rotary_defines(const Node& node) {
  return {fmt::format("COS={}", cuda_type(node.input(1)->dtype())),
          fmt::format("SIN={}", cuda_type(node.input(2)->dtype())), fmt::format("RANK={}", space_of(node).rank()),
          fmt::format("INTERLEAVED={}", node.as<lathe::Rotary>()->interleaved ? 1 : 0)};
}

Candidates lower(const lathe::Rotary& op, const Node& node, const Target& target) {
  const DType type = node.output()->dtype();
  if (!computes_as_float(type) || type == DType::f64) return {decline("rotary", "element type")};
  if (space_of(node).rank() > kRotaryMaxRank) return {decline("rotary", "rank above 8")};
  return {accept_step<RotaryStep>("rotary", op, node, target)};
}

}  // namespace lathe::cuda
