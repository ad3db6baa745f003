#include "backends/cuda/lower/program_map.h"

#include <algorithm>

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
std::vector<int> merge_axes(const std::vector<MapOperand>& operands, const Shape& output, bool mergeable) {
  std::vector<int> merged(output.size(), 0);
  for (size_t axis = 1; axis < output.size(); ++axis) {
    const bool alike = mergeable && std::all_of(operands.begin(), operands.end(), [&](const MapOperand& operand) {
                         return walks_alike(operand.shape, output, axis - 1);
                       });
    merged[axis] = merged[axis - 1] + (alike ? 0 : 1);
  }
  return merged;
}

std::vector<DType> types_of(const std::vector<MapOperand>& operands) {
  std::vector<DType> types;
  for (const MapOperand& operand : operands) types.push_back(operand.type);
  return types;
}

}  // namespace

std::string ProgramMap::why_not(const MapProgram& program, const std::vector<MapOperand>& operands,
                                const Shape& output) {
  if (std::string why = why_unsupported(program, types_of(operands)); !why.empty()) return why;
  if (operands.size() > kMapMaxInputs) return "too many inputs";
  if (program.dims().size() > kMapMaxDims) return "too many dimension expressions";
  const std::vector<int> axes = merge_axes(operands, output, !program.uses_iota());
  return !axes.empty() && axes.back() >= kMapMaxRank ? "rank above 8" : "";
}

ProgramMap::ProgramMap(const MapProgram& program, const std::vector<MapOperand>& operands, const Shape& output,
                       const Target& target)
    : program_(program),
      target_(target),
      code_(program_code(program, types_of(operands))),
      axes_(merge_axes(operands, output, !program.uses_iota())) {
  rank_ = axes_.empty() ? 1 : static_cast<size_t>(axes_.back()) + 1;
  int widest = bit_width(program.result_type());
  for (const MapOperand& operand : operands) widest = std::max(widest, bit_width(operand.type));
  vector_ = std::min<int64_t>(8, static_cast<int64_t>(kPackBytes) * 8 / widest);
  vector_kernel_ = request(vector_, "u32");
  scalar_kernel_ = request(1, "u32");
}

ProgramMap::Plan ProgramMap::plan(std::span<const std::span<const int64_t>> operands, std::span<const int64_t> output,
                                  const SymbolBindings& symbols) const {
  Plan plan;
  MapArgs& args = plan.args;
  std::fill_n(args.sizes, rank_, 1);
  int64_t elements = 1;
  for (size_t axis = 0; axis < axes_.size(); ++axis) {
    args.sizes[axes_[axis]] *= static_cast<unsigned long long>(output[axis]);
    elements *= output[axis];
  }
  for (size_t i = 0; i < operands.size(); ++i) fill_strides(args.strides[i], operands[i], output);
  for (size_t i = 0; i < program_.dims().size(); ++i) args.dims[i] = symbols.evaluate(program_.dims()[i]);
  int64_t vector = vector_;
  plan.kernel = vector_kernel_;
  if (!vectorises(args, operands.size())) {
    vector = 1;
    plan.kernel = scalar_kernel_;
  }
  if (elements >= kMaxIndex32) {
    vector = 1;
    plan.kernel = request(1, "u64");
    target_.kernels.build();
  }
  args.packs = static_cast<unsigned long long>(elements / vector);
  plan.blocks = static_cast<unsigned>(ceil_div(static_cast<int64_t>(args.packs), kThreads));
  return plan;
}

void ProgramMap::launch(const Plan& plan, std::span<const void* const> operands, void* output, CUstream stream) const {
  if (plan.blocks == 0) return;
  MapArgs args = plan.args;
  std::copy(operands.begin(), operands.end(), args.inputs);
  args.output = output;
  plan.kernel->launch(stream, {plan.blocks}, kThreads, 0, args);
}

// The strides of an operand along the merged axes; those of one merged axis agree, so the last of its axes decides.
void ProgramMap::fill_strides(long long* strides, std::span<const int64_t> dims,
                              std::span<const int64_t> output) const {
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

bool ProgramMap::vectorises(const MapArgs& args, size_t operands) const {
  if (args.sizes[rank_ - 1] % static_cast<unsigned long long>(vector_) != 0) return false;
  for (size_t i = 0; i < operands; ++i) {
    if (args.strides[i][rank_ - 1] != 1) continue;
    for (size_t axis = 0; axis + 1 < rank_; ++axis)
      if (args.strides[i][axis] % vector_ != 0) return false;
  }
  return true;
}

const Kernel* ProgramMap::request(int64_t vector, std::string_view index) const {
  return &target_.kernels.request(
      {"map.cu",
       "map",
       {fmt::format("RANK={}", rank_), fmt::format("VECTOR={}", vector), fmt::format("INDEX={}", index)},
       code_});
}

}  // namespace lathe::cuda
