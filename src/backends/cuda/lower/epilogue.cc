#include "backends/cuda/lower/epilogue.h"

#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

bool gives_i32(DType type) {
  return type == DType::i8 || type == DType::u8 || type == DType::i16 || type == DType::i32;
}

constexpr size_t kFirstExtra = 2;  // the operand that is program input 1

}  // namespace

std::optional<DType> product_type(DType a, DType b) {
  if (gives_i32(a) && gives_i32(b)) return DType::i32;
  if (a == DType::f8e4m3 && b == DType::f8e4m3) return DType::f32;
  return a == b ? std::optional(a) : std::nullopt;
}

Epilogue::Epilogue(const MapProgram& program, DType product, const Node& node, View view)
    : program_(program), product_(product), node_(node), view_(view) {
  if (program.empty()) {
    fusable_ = true;
    return;
  }
  fusable_ = !program.uses_iota() && program.dims().empty() && node.inputs().size() <= kFirstExtra + kEpilogueMaxExtras;
  for (size_t i = kFirstExtra; fusable_ && i < node.inputs().size(); ++i) {
    const auto extra = follows(node.input(i)->shape());
    fusable_ = extra.has_value();
    if (fusable_) extras_.push_back(*extra);
  }
}

std::string Epilogue::why_not() const {
  return empty() ? std::string() : ProgramMap::why_not(program_, map_operands(), node_.output()->shape());
}

std::optional<Epilogue::Follows> Epilogue::follows(const Shape& extra) const {
  const Shape& output = node_.output()->shape();
  const size_t missing = output.size() - extra.size();
  const std::array<size_t, 4> bounds = {0, view_.outer_end, view_.row_end, output.size()};
  Follows result{};
  for (size_t group = 0; group < result.size(); ++group) {
    bool all = true, none = true;
    for (size_t axis = bounds[group]; axis < bounds[group + 1]; ++axis) {
      const Dim size = axis < missing ? Dim(1) : extra[axis - missing];
      all &= size == output[axis];
      none &= size == Dim(1);
    }
    if (!all && !none) return std::nullopt;
    result[group] = all && bounds[group] < bounds[group + 1];
  }
  return result;
}

std::string Epilogue::kernel_code() const {
  if (empty() || !fusable_) return program_code(identity_program(product_), {product_});
  std::vector<DType> types = {product_};
  for (size_t i = kFirstExtra; i < node_.inputs().size(); ++i) types.push_back(node_.input(i)->dtype());
  return program_code(program_, types, Rounding::when_stored);
}

ExtraMasks Epilogue::extra_masks() const {
  ExtraMasks masks;
  for (size_t i = 0; i < extras_.size(); ++i) {
    masks.rows |= (extras_[i][1] ? 1u : 0u) << i;
    masks.columns |= (extras_[i][2] ? 1u : 0u) << i;
  }
  return masks;
}

DType Epilogue::kernel_output() const { return empty() || !fusable_ ? product_ : program_.result_type(); }

EpilogueArgs Epilogue::kernel_args(const StepIo& io) const {
  EpilogueArgs args{};
  const auto& dims = io.outputs[0].dims;
  int64_t rows = 1, columns = 1;
  for (size_t axis = view_.outer_end; axis < dims.size(); ++axis) (axis < view_.row_end ? rows : columns) *= dims[axis];
  for (size_t i = 0; i < extras_.size(); ++i) {
    const auto& [outer, row, column] = extras_[i];
    const int64_t row_elements = column ? columns : 1;
    args.column[i] = column ? 1 : 0;
    args.row[i] = row ? row_elements : 0;
    args.outer[i] = outer ? row_elements * (row ? rows : 1) : 0;
  }
  return args;
}

void Epilogue::set_addresses(EpilogueArgs& args, const StepIo& io) {
  for (size_t i = kFirstExtra; i < io.inputs.size() && i < kFirstExtra + kEpilogueMaxExtras; ++i)
    args.extras[i - kFirstExtra] = io.inputs[i].data;
}

bool Epilogue::is_bias(int i) const {
  const auto found = follows(node_.input(static_cast<size_t>(i) + 1)->shape());
  return found && *found == (view_.outer_end > 0 ? Follows{false, true, false} : Follows{false, false, true});
}

bool Epilogue::is_full(int i) const {
  return node_.input(static_cast<size_t>(i) + 1)->shape() == node_.output()->shape();
}

std::vector<MapOperand> Epilogue::map_operands() const {
  std::vector<MapOperand> operands = {{product_, node_.output()->shape()}};
  for (size_t i = kFirstExtra; i < node_.inputs().size(); ++i)
    operands.push_back({node_.input(i)->dtype(), node_.input(i)->shape()});
  return operands;
}

std::unique_ptr<ProgramMap> Epilogue::make_map(const Target& target) const {
  return std::make_unique<ProgramMap>(program_, map_operands(), node_.output()->shape(), target);
}

ProgramMap::Plan Epilogue::plan_map(const ProgramMap& map, const StepIo& io) const {
  std::vector<std::span<const int64_t>> dims = {io.outputs[0].dims};
  for (size_t i = kFirstExtra; i < io.inputs.size(); ++i) dims.push_back(io.inputs[i].dims);
  return map.plan(dims, io.outputs[0].dims, *io.symbols);
}

void Epilogue::run_map(const ProgramMap& map, const ProgramMap::Plan& plan, const void* product, const StepIo& io,
                       CUstream stream) {
  const void* operands[kMapMaxInputs] = {product};
  for (size_t i = kFirstExtra; i < io.inputs.size(); ++i) operands[i - 1] = io.inputs[i].data;
  map.launch(plan, {operands, io.inputs.size() - 1}, io.outputs[0].data, stream);
}

size_t Epilogue::product_bytes(const StepIo& io) const {
  if (empty() || bit_width(product_) == bit_width(io.outputs[0].dtype)) return 0;
  return storage_bytes(product_, io.outputs[0].elements());
}

}  // namespace lathe::cuda
