// Norms and embeddings: rows that are normalised in registers.
#include <optional>

#include "backends/cuda/kernels/row_args.h"
#include "backends/cuda/lower/gemm_row.h"
#include "backends/cuda/lower/rows.h"
#include "backends/cuda/lower/space.h"
#include "backends/cuda/program_code.h"
#include "graph/reference/indexing.h"
#include "graph/token_packing.h"

namespace lathe::cuda {
namespace {

constexpr size_t kMaxTables = 4;

Dim product(std::span<const Dim> dims) {
  Dim all = 1;
  for (const Dim& dim : dims) all = all * dim;
  return all;
}
int64_t product(std::span<const int64_t> dims) {
  int64_t all = 1;
  for (const int64_t dim : dims) all *= dim;
  return all;
}

// Operand i, or null where the node has fewer operands or it is absent.
const Value* operand_of(const Node& node, size_t i) { return i < node.inputs().size() ? node.inputs()[i] : nullptr; }

std::string type_define(const char* name, const Value* value) {
  return fmt::format("{}={}", name, value == nullptr ? "float" : cuda_type(value->dtype()));
}

struct NormState : StepState {
  NormArgs args{};
  const Kernel* kernel = nullptr;
  unsigned blocks = 0, threads = 0;

  void plan(const RowKernels& kernels, bool packed) {
    if (args.rows * args.width == 0) return;
    const auto [chosen, plan] = kernels.choose(args.rows, args.width, packed);
    kernel = chosen;
    blocks = plan.blocks(args.rows);
    threads = plan.threads();
  }
};

void set_operands(const StepIo& io, NormArgs& args) {
  for (size_t i = 0; i < io.inputs.size(); ++i) args.operands[i] = io.inputs[i].present ? io.inputs[i].data : nullptr;
}

void launch_norm(const StepIo& io, const NormState& state, NormArgs& args, DeviceContext& device) {
  if (state.blocks == 0) return;
  set_operands(io, args);
  state.kernel->launch(stream_of(device), {state.blocks}, state.threads, 0, args);
}

// ---- norm ----

MapProgram prologue_of(const lathe::Norm& op, const Node& node) {
  return op.prologue.empty() ? identity_program(node.inputs()[0]->dtype()) : op.prologue;
}

std::vector<DType> prologue_types(const lathe::Norm& op, const Node& node) {
  std::vector<DType> types;
  for (size_t i = 0; i < static_cast<size_t>(op.num_x); ++i) types.push_back(node.inputs()[i]->dtype());
  return types;
}

BroadcastSpace space_of(const lathe::Norm& op, const Node& node) {
  std::vector<Shape> operands;
  for (const Value* input : node.inputs())
    if (input != nullptr) operands.push_back(input->shape());
  return BroadcastSpace(node.outputs()[0]->shape(), operands, {!op.prologue.uses_iota(), static_cast<size_t>(op.axis)});
}

// Merged axes that make a row.
size_t inner_rank(const lathe::Norm& op, const BroadcastSpace& space) {
  return space.rank() - space.merged(static_cast<size_t>(op.axis));
}

bool is_read(const Node& node, size_t output) {
  if (output >= node.outputs().size()) return false;
  const Value* value = node.output(output);
  return !value->users().empty() || value->is_output();
}

// The output that is the bytes of rows, before that of their scales; 0 where nobody reads bytes.
size_t bytes_output(const Node& node) {
  constexpr size_t kIntegers = 2, kFloats = 4;
  for (const size_t output : {kIntegers, kFloats})
    if (is_read(node, output) || is_read(node, output + 1)) return output;
  return 0;
}

class NormStep : public Step {
 public:
  NormStep(const lathe::Norm& op, const Node& node, const Target& target)
      : op_(op),
        program_(prologue_of(op, node)),
        space_(space_of(op, node)),
        inner_(inner_rank(op, space_)),
        writes_result_(is_read(node, 0)),
        writes_sum_(is_read(node, 1)),
        before_products_(!target.uniform && row_norm(node).has_value()),
        bytes_(bytes_output(node)) {
    const auto xs = static_cast<size_t>(op.num_x);
    const Value& output = *node.outputs()[0];
    const std::vector<DType> types = prologue_types(op, node);
    int widest = bit_width(output.dtype());
    for (const DType type : types) widest = std::max(widest, bit_width(type));
    vector_ = 128 / widest;
    std::vector<std::string> defines = {fmt::format("WIDE={}", wide_type(output.dtype())),
                                        fmt::format("LAYER={}", op.kind == NormKind::layer ? 1 : 0),
                                        fmt::format("XS={}", xs),
                                        type_define("SCALE", operand_of(node, xs)),
                                        type_define("BIAS", operand_of(node, xs + 1)),
                                        fmt::format("RANK={}", space_.rank()),
                                        fmt::format("INNER={}", inner_)};
    if (bytes_ > 0) defines.emplace_back(node.output(bytes_)->dtype() == DType::i8 ? "Q=i8" : "Q=e4m3");
    const Shape& shape = output.shape();
    kernels_.emplace(KernelSpec{"norm.cu", "normalise", defines, program_code(program_, types)},
                     product(std::span(shape).subspan(static_cast<size_t>(op.axis))), inner_ == 1 ? vector_ : 1,
                     target);
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<NormState>();
    NormArgs& args = state->args;
    const auto dims = io.outputs[0].dims;
    args.rows = product(dims.first(static_cast<size_t>(op_.axis)));
    args.width = product(dims.subspan(static_cast<size_t>(op_.axis)));
    args.epsilon = op_.epsilon;
    space_.fill_sizes(dims, args.sizes);
    for (size_t i = 0; i < io.inputs.size(); ++i)
      if (io.inputs[i].present) space_.fill_strides(io.inputs[i].dims, dims, args.strides[i]);
    for (size_t i = 0; i < program_.dims().size(); ++i) args.dims[i] = io.symbols->evaluate(program_.dims()[i]);
    state->plan(*kernels_, packs(args, io.inputs.size()));
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const NormState*>(prepared);
    NormArgs args = state.args;
    args.output = writes_result_ ? io.outputs[0].data : nullptr;
    args.sum = writes_sum_ ? io.outputs[1].data : nullptr;
    args.bytes = bytes_ > 0 ? io.outputs[bytes_].data : nullptr;
    args.scales = bytes_ > 0 ? io.outputs[bytes_ + 1].as<float>() : nullptr;
    if (before_products_ && args.rows == 1 && state.blocks > 0)
      defer(io, state, args, static_cast<CudaContext&>(device));
    else
      launch_norm(io, state, args, device);
  }

 private:
  // To products that normalise the row themselves.
  void defer(const StepIo& io, const NormState& state, NormArgs& args, CudaContext& context) const {
    set_operands(io, args);
    const size_t bytes = static_cast<size_t>(args.width) * static_cast<size_t>(bit_width(io.outputs[0].dtype) / 8);
    context.defer(std::make_unique<RowNormLaunch>(
        RowNormLaunch::Row{args.operands[0], args.operands[1], io.inputs.size() > 2 ? args.operands[2] : nullptr,
                           io.outputs[0].data, args.width, args.epsilon, bytes},
        [&state, args](CUstream stream) { state.kernel->launch(stream, {state.blocks}, state.threads, 0, args); }));
  }

  // True when every pack of an operand lies within one row of it and is aligned.
  bool packs(const NormArgs& args, size_t operands) const {
    if (inner_ != 1 || args.width % vector_ != 0) return false;
    for (size_t i = 0; i < operands; ++i) {
      if (args.strides[i][space_.rank() - 1] != 1) continue;
      for (size_t axis = 0; axis + 1 < space_.rank(); ++axis)
        if (args.strides[i][axis] % vector_ != 0) return false;
    }
    return true;
  }

  const lathe::Norm& op_;
  MapProgram program_;
  BroadcastSpace space_;
  size_t inner_;
  bool writes_result_, writes_sum_, before_products_;
  size_t bytes_;
  int vector_ = 1;
  std::optional<RowKernels> kernels_;
};

// ---- embedding ----

// What ids broadcast to.
std::vector<int64_t> row_sizes(const lathe::Embedding& op, const StepIo& io) {
  std::vector<int64_t> all;
  for (size_t i = 0; i < static_cast<size_t>(op.num_tables); ++i)
    all = reference::broadcast_sizes(all, io.inputs[2 * i].dims);
  return all;
}

BroadcastSpace space_of(const lathe::Embedding& op, const Node& node) {
  std::vector<Shape> ids;
  Shape rows;
  for (size_t i = 0; i < static_cast<size_t>(op.num_tables); ++i) {
    ids.push_back(node.inputs()[2 * i]->shape());
    rows = broadcast(rows, ids.back());
  }
  return BroadcastSpace(rows, ids, {});
}

class EmbeddingStep : public Step {
 public:
  EmbeddingStep(const lathe::Embedding& op, const Node& node, const Target& target)
      : op_(op),
        tables_(static_cast<size_t>(op.num_tables)),
        picks_(picked_operand(op) < node.inputs().size()),
        space_(space_of(op, node)) {
    const DType type = node.output()->dtype();
    vector_ = pack_of(type);
    std::vector<std::string> defines = {fmt::format("ELEMENT={}", cuda_type(type)),
                                        fmt::format("WIDE={}", wide_type(type)),
                                        fmt::format("LAYER={}", op.kind == NormKind::layer ? 1 : 0),
                                        fmt::format("TABLES={}", tables_),
                                        fmt::format("PICKED={}", picks_ ? 1 : 0),
                                        type_define("SCALE", operand_of(node, 2 * tables_)),
                                        type_define("BIAS", operand_of(node, 2 * tables_ + 1)),
                                        fmt::format("RANK={}", space_.rank())};
    for (size_t i = 0; i < tables_; ++i)
      defines.insert(defines.end(), {fmt::format("ID{}={}", i, cuda_type(node.inputs()[2 * i]->dtype())),
                                     fmt::format("TABLE{}={}", i, cuda_type(node.inputs()[2 * i + 1]->dtype()))});
    kernels_.emplace(KernelSpec{"embedding.cu", "embedding", defines, {}}, node.output()->shape().back(), vector_,
                     target);
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<NormState>();
    NormArgs& args = state->args;
    const auto dims = io.outputs[0].dims;
    const auto ids = row_sizes(op_, io);
    args.rows = product(dims.first(dims.size() - 1));
    if (picks_) args.table_rows[picked_operand(op_)] = product(std::span(ids));
    args.width = dims.back();
    args.epsilon = op_.epsilon;
    space_.fill_sizes(ids, args.sizes);
    for (size_t i = 0; i < tables_; ++i) {
      space_.fill_strides(io.inputs[2 * i].dims, ids, args.strides[2 * i]);
      args.table_rows[2 * i + 1] = io.inputs[2 * i + 1].dims[0];
    }
    state->plan(*kernels_, args.width % vector_ == 0);
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const NormState*>(prepared);
    NormArgs args = state.args;
    args.output = io.outputs[0].data;
    launch_norm(io, state, args, device);
  }

 private:
  const lathe::Embedding& op_;
  size_t tables_;
  bool picks_;
  BroadcastSpace space_;
  int vector_ = 1;
  std::optional<RowKernels> kernels_;
};

// ---- group norm ----

struct GroupNormState : StepState {
  GroupNormArgs args{};
  const Kernel* kernel = nullptr;
  unsigned blocks = 0, threads = 0;
};

class GroupNormStep : public Step {
 public:
  GroupNormStep(const lathe::GroupNorm& op, const Node& node, const Target& target) : op_(op) {
    const Shape& shape = node.output()->shape();
    const DType type = node.output()->dtype();
    vector_ = pack_of(type);
    const std::vector<std::string> defines = {
        fmt::format("ELEMENT={}", cuda_type(type)), fmt::format("WIDE={}", wide_type(type)), "LAYER=1",
        type_define("SCALE", node.inputs()[1]), type_define("BIAS", node.inputs()[2])};
    const Dim space = product(std::span(shape).subspan(2));
    const bool known = space.is_constant() && shape[1].is_constant();
    const int64_t groups = op.groups == 0 ? (known ? shape[1].value() : 1) : op.groups;
    const Dim width = known ? Dim(shape[1].value() / groups * space.value()) : space;
    kernels_.emplace(KernelSpec{"group_norm.cu", "group_norm", defines, {}}, width, vector_, target);
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<GroupNormState>();
    GroupNormArgs& args = state->args;
    const auto dims = io.outputs[0].dims;
    args.groups = op_.groups == 0 ? dims[1] : op_.groups;
    if (product(dims) == 0) return state;
    if (dims[1] % args.groups != 0)
      fail(ErrorCode::invalid_argument, "{} channels do not divide into {} groups", dims[1], args.groups);
    args.space = product(dims.subspan(2));
    args.group_channels = dims[1] / args.groups;
    args.rows = dims[0] * args.groups;
    args.width = args.group_channels * args.space;
    args.epsilon = op_.epsilon;
    const auto [kernel, plan] = kernels_->choose(args.rows, args.width, args.space % vector_ == 0);
    state->kernel = kernel;
    state->blocks = plan.blocks(args.rows);
    state->threads = plan.threads();
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const GroupNormState*>(prepared);
    if (state.blocks == 0) return;
    GroupNormArgs args = state.args;
    args.input = io.inputs[0].data;
    args.scale = io.inputs[1].data;
    args.bias = io.inputs[2].data;
    args.output = io.outputs[0].data;
    state.kernel->launch(stream_of(device), {state.blocks}, state.threads, 0, args);
  }

 private:
  const lathe::GroupNorm& op_;
  int vector_ = 1;
  std::optional<RowKernels> kernels_;
};

}  // namespace

Candidates lower(const lathe::Norm& op, const Node& node, const Target& target) {
  const MapProgram program = prologue_of(op, node);
  if (std::string why = why_unsupported(program, prologue_types(op, node)); !why.empty()) return {decline("norm", why)};
  if (!computes_as_float(node.outputs()[0]->dtype())) return {decline("norm", "element type")};
  if (node.inputs().size() + 2 > kRowMaxOperands) return {decline("norm", "too many operands")};
  if (program.dims().size() > kRowMaxDims) return {decline("norm", "too many dimension expressions")};
  if (node.outputs()[0]->shape().empty()) return {decline("norm", "a scalar")};
  if (bytes_output(node) > 0 && node.outputs()[0]->dtype() == DType::f64) return {decline("norm", "bytes of f64")};
  if (is_read(node, 2) && is_read(node, 4)) return {decline("norm", "bytes of two kinds")};
  if (space_of(op, node).rank() > kRowMaxRank) return {decline("norm", "rank above 8")};
  return {accept_step<NormStep>("norm", op, node, target)};
}

Candidates lower(const lathe::Embedding& op, const Node& node, const Target& target) {
  if (!computes_as_float(node.output()->dtype())) return {decline("embedding", "element type")};
  if (static_cast<size_t>(op.num_tables) > kMaxTables) return {decline("embedding", "more than 4 tables")};
  for (size_t i = 0; i < static_cast<size_t>(op.num_tables); ++i)
    if (const DType table = node.input(2 * i + 1)->dtype();
        table != node.output()->dtype() && !(is_half(table) && node.output()->dtype() == DType::f32))
      return {decline("embedding", "a table that is neither as wide as the result nor half as wide")};
  if (space_of(op, node).rank() > kRowMaxRank) return {decline("embedding", "rank above 8")};
  return {accept_step<EmbeddingStep>("embedding", op, node, target)};
}

Candidates lower(const lathe::GroupNorm& op, const Node& node, const Target& target) {
  if (!computes_as_float(node.output()->dtype())) return {decline("group_norm", "element type")};
  return {accept_step<GroupNormStep>("group_norm", op, node, target)};
}

}  // namespace lathe::cuda
