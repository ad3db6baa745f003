// Layer and RMS norm of rows, group and instance norm. A prologue that is a sum of whole tensors and a bias goes into
// the kernel's pass over the row; any other is a map whose result the kernel then normalises in place.
#include "backends/cpu/kernels/norm.h"

#include "backends/cpu/lower/lower.h"
#include "backends/cpu/lower/map_step.h"

namespace lathe::cpu {
namespace {

// What the kernel adds up, as operands of the node; -1: nothing.
struct Addends {
  int x = 0, residual = -1, bias = -1;
};

// The inputs of a program that only adds inputs; false for any other program, and for more inputs than a kernel adds.
bool collect_addends(const MapProgram& program, int at, std::vector<int>& inputs) {
  const MapInstr& instr = program.code()[static_cast<size_t>(at)];
  if (instr.type != DType::f32) return false;
  if (instr.op == MapOp::input)
    inputs.push_back(instr.args[0]);
  else if (instr.op != MapOp::add || !collect_addends(program, instr.args[0], inputs) ||
           !collect_addends(program, instr.args[1], inputs))
    return false;
  return inputs.size() <= 3;
}

// nullopt when the prologue must run as a map.
std::optional<Addends> match_prologue(const lathe::Norm& op, const Node& node, std::span<const Dim> row) {
  std::vector<int> inputs;
  if (op.prologue.empty())
    inputs = {0};
  else if (!collect_addends(op.prologue, static_cast<int>(op.prologue.code().size()) - 1, inputs))
    return std::nullopt;
  Addends addends;
  addends.x = -1;
  for (const int i : inputs) {
    const Shape& shape = node.input(static_cast<size_t>(i))->shape();
    if (shape == node.output()->shape() && addends.x < 0)
      addends.x = i;
    else if (shape == node.output()->shape() && addends.residual < 0)
      addends.residual = i;
    else if (is_row(shape, row) && addends.bias < 0)
      addends.bias = i;
    else
      return std::nullopt;
  }
  return addends.x < 0 ? std::nullopt : std::optional(addends);
}

class NormStep : public Step {
 public:
  NormStep(const lathe::Norm& op, size_t axis, const std::optional<Addends>& addends, const KernelTable& kernels)
      : axis_(axis),
        num_x_(static_cast<size_t>(op.num_x)),
        rms_(op.kind == NormKind::rms),
        epsilon_(static_cast<float>(op.epsilon)),
        addends_(addends),
        kernels_(kernels.norm) {
    if (!addends) prologue_ = std::make_unique<MapCode>(op.prologue, kernels.map);
  }

  size_t workspace_bytes(const StepIo& io) const override {
    return prologue_ == nullptr ? 0 : static_cast<size_t>(io.threads) * prologue_->scratch_bytes();
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    if (prologue_ == nullptr) return nullptr;
    std::vector<std::span<const int64_t>> dims;
    for (size_t i = 0; i < num_x_; ++i) dims.push_back(io.inputs[i].dims);
    return std::make_unique<MapState>(*prologue_, dims, io.outputs[0].dims, *io.symbols);
  }

  void run(const StepIo& io, const StepState* state, void* workspace, DeviceContext& device) const override {
    const auto operand = [&](size_t i) -> const float* {
      return i < io.inputs.size() && io.inputs[i].present ? io.inputs[i].as<const float>() : nullptr;
    };
    Norm norm;
    norm.rows = norm.n = 1;
    for (size_t a = 0; a < io.outputs[0].dims.size(); ++a) (a < axis_ ? norm.rows : norm.n) *= io.outputs[0].dims[a];
    norm.ldx = norm.ldy = norm.ld_residual = norm.ld_sum = norm.n;
    norm.rms = rms_;
    norm.epsilon = epsilon_;
    norm.scale = operand(num_x_);
    norm.shift = operand(num_x_ + 1);
    norm.y = io.outputs[0].as<float>();
    float* sum = io.outputs.size() > 1 ? io.outputs[1].as<float>() : nullptr;
    if (prologue_ != nullptr) {
      float* target = sum != nullptr ? sum : norm.y;
      run_prologue(io, *static_cast<const MapState*>(state), target, workspace, team_of(device));
      norm.x = target;
    } else {
      norm.x = operand(static_cast<size_t>(addends_->x));
      if (addends_->residual >= 0) norm.residual = operand(static_cast<size_t>(addends_->residual));
      if (addends_->bias >= 0) norm.bias = operand(static_cast<size_t>(addends_->bias));
      norm.sum = sum;
    }
    normalize(team_of(device), kernels_, norm);
  }

 private:
  void run_prologue(const StepIo& io, const MapState& state, float* out, void* workspace, ThreadTeam& team) const {
    const void* inputs[kMaxMapInputs];
    for (size_t i = 0; i < num_x_; ++i) inputs[i] = io.inputs[i].data;
    state.plan.run(team, {inputs, num_x_}, out, workspace);
  }

  size_t axis_, num_x_;
  bool rms_;
  float epsilon_;
  std::optional<Addends> addends_;
  std::unique_ptr<MapCode> prologue_;
  const NormKernels& kernels_;
};

std::string why_not(const lathe::Norm& op, const Node& node, std::span<const Dim> row, const MapKernels& kernels) {
  for (const Value* output : node.outputs())
    if (output->dtype() != DType::f32) return "computes in f32 only, not " + to_string(output->type());
  const auto num_x = static_cast<size_t>(op.num_x);
  for (size_t i = num_x; i < node.inputs().size(); ++i) {
    const Value* parameter = node.input(i);
    if (parameter == nullptr) continue;
    if (parameter->dtype() != DType::f32) return "computes in f32 only, not " + to_string(parameter->type());
    if (!is_row(parameter->shape(), row))
      return fmt::format("scale or bias {} does not have the shape of a normalised row", to_string(parameter->type()));
  }
  if (num_x > kMaxMapInputs) return "too many inputs";
  return op.prologue.empty() ? std::string() : MapCode::why_unsupported(op.prologue, kernels);
}

class GroupNormStep : public Step {
 public:
  GroupNormStep(const lathe::GroupNorm& op, const NormKernels& kernels) : op_(op), kernels_(kernels) {}

  void run(const StepIo& io, const StepState*, void*, DeviceContext& device) const override {
    const TensorRef& x = io.inputs[0];
    const int64_t channels = x.dims[1], groups = op_.groups == 0 ? channels : op_.groups;
    const int64_t elements = x.elements();
    if (elements == 0) return;
    Norm norm;
    norm.rows = x.dims[0] * groups;
    norm.n = norm.ldx = norm.ldy = elements / norm.rows;
    norm.x = x.as<const float>();
    norm.y = io.outputs[0].as<float>();
    norm.epsilon = static_cast<float>(op_.epsilon);
    normalize(team_of(device), kernels_, norm);
    scale_planes(team_of(device), norm.y, x.dims[0] * channels, channels, elements / (x.dims[0] * channels),
                 io.inputs[1].as<const float>(), io.inputs[2].as<const float>());
  }

 private:
  static void scale_planes(ThreadTeam& team, float* y, int64_t planes, int64_t channels, int64_t size,
                           const float* scale, const float* bias) {
    team.parallel_for(planes, [=](int64_t begin, int64_t end, int) {
      for (int64_t plane = begin; plane < end; ++plane) {
        const float a = scale[plane % channels], b = bias[plane % channels];
        float* values = y + plane * size;
        for (int64_t i = 0; i < size; ++i) values[i] = values[i] * a + b;
      }
    });
  }

  lathe::GroupNorm op_;
  const NormKernels& kernels_;
};

}  // namespace

Candidates lower(const lathe::Norm& op, const Node& node, const Target& target) {
  const Shape& shape = node.output()->shape();
  const auto axis = static_cast<size_t>(op.axis < 0 ? op.axis + static_cast<int64_t>(shape.size()) : op.axis);
  const std::span<const Dim> row = std::span(shape).subspan(axis);
  if (std::string why = why_not(op, node, row, target.kernels.map); !why.empty())
    return {decline("norm", std::move(why))};
  return {accept("norm", [&op, axis, addends = match_prologue(op, node, row), &kernels = target.kernels] {
    return plain_step<NormStep>(op, axis, addends, kernels);
  })};
}

Candidates lower(const lathe::GroupNorm& op, const Node& node, const Target& target) {
  if (std::string why = not_f32(node); !why.empty()) return {decline("group_norm", std::move(why))};
  return {
      accept("group_norm", [&op, &kernels = target.kernels.norm] { return plain_step<GroupNormStep>(op, kernels); })};
}

}  // namespace lathe::cpu
