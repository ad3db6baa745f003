#include "backends/cuda/lower/program_map.h"

#include <algorithm>

#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr size_t kPackBytes = 16;
constexpr int64_t kMaxIndex32 = int64_t{1} << 31;

std::vector<DType> types_of(const std::vector<MapOperand>& operands) {
  std::vector<DType> types;
  for (const MapOperand& operand : operands) types.push_back(operand.type);
  return types;
}

BroadcastSpace space_of(const MapProgram& program, const std::vector<MapOperand>& operands, const Shape& output) {
  std::vector<Shape> shapes;
  for (const MapOperand& operand : operands) shapes.push_back(operand.shape);
  return BroadcastSpace(output, shapes, {.merge = !program.uses_iota()});
}

}  // namespace

std::string ProgramMap::why_not(const MapProgram& program, const std::vector<MapOperand>& operands,
                                const Shape& output) {
  if (std::string why = why_unsupported(program, types_of(operands)); !why.empty()) return why;
  if (operands.size() > kMapMaxInputs) return "too many inputs";
  if (program.dims().size() > kMapMaxDims) return "too many dimension expressions";
  return space_of(program, operands, output).rank() > kMapMaxRank ? "rank above 8" : "";
}

ProgramMap::ProgramMap(const MapProgram& program, const std::vector<MapOperand>& operands, const Shape& output,
                       const Target& target)
    : program_(program),
      target_(target),
      code_(program_code(program, types_of(operands))),
      space_(space_of(program, operands, output)) {
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
  space_.fill_sizes(output, args.sizes);
  for (size_t i = 0; i < operands.size(); ++i) space_.fill_strides(operands[i], output, args.strides[i]);
  for (size_t i = 0; i < program_.dims().size(); ++i) args.dims[i] = symbols.evaluate(program_.dims()[i]);
  const int64_t elements = element_count(output);
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

bool ProgramMap::vectorises(const MapArgs& args, size_t operands) const {
  const size_t last = space_.rank() - 1;
  if (args.sizes[last] % static_cast<unsigned long long>(vector_) != 0) return false;
  for (size_t i = 0; i < operands; ++i) {
    if (args.strides[i][last] != 1) continue;
    for (size_t axis = 0; axis < last; ++axis)
      if (args.strides[i][axis] % vector_ != 0) return false;
  }
  return true;
}

const Kernel* ProgramMap::request(int64_t vector, std::string_view index) const {
  return &target_.kernels.request(
      {"map.cu",
       "map",
       {fmt::format("RANK={}", space_.rank()), fmt::format("VECTOR={}", vector), fmt::format("INDEX={}", index)},
       code_});
}

}  // namespace lathe::cuda
