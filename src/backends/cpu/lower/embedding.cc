// Embedding sums: ids that repeat over a leading axis (positions of shape [1, seq]) are written out first, the
// look-ups, the sum and the norm are then one pass over the rows that are wanted.
#include "backends/cpu/kernels/embedding.h"

#include "backends/cpu/kernels/copy.h"
#include "backends/cpu/lower/lower.h"
#include "base/error.h"
#include "graph/reference/indexing.h"
#include "graph/token_packing.h"

namespace lathe::cpu {
namespace {

struct EmbeddingState : StepState {
  std::vector<std::vector<int64_t>> from_strides;  // of ids, by table; used where they repeat
  std::vector<int64_t> dims, to_strides;
};

class EmbeddingStep : public Step {
 public:
  EmbeddingStep(const lathe::Embedding& op, const KernelTable& kernels) : op_(op), kernels_(kernels) {}

  size_t workspace_bytes(const StepIo& io) const override {
    Workspace workspace;
    const int64_t rows = element_count(row_dims(io));
    for (size_t t = 0; t < tables(); ++t)
      if (repeats(io, t, rows)) take_ids(workspace, io, t, rows);
    return workspace.used();
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<EmbeddingState>();
    state->dims = row_dims(io);
    for (size_t t = 0; t < tables(); ++t)
      state->from_strides.push_back(broadcast_strides(io.inputs[2 * t].dims, state->dims));
    state->to_strides = dense_strides(state->dims);
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void* memory, DeviceContext& device) const override {
    const auto& state = *static_cast<const EmbeddingState*>(prepared);
    Workspace workspace(memory);
    EmbeddingSum sum;
    sum.n = sum.ldy = io.outputs[0].dims.back();
    sum.rows = element_count(io.outputs[0].dims.first(io.outputs[0].dims.size() - 1));
    sum.all_rows = element_count(state.dims);
    if (picks(io)) sum.picked = io.inputs[picked_operand(op_)].as<const int32_t>();
    sum.y = io.outputs[0].as<float>();
    sum.table_count = static_cast<int>(tables());
    for (size_t t = 0; t < tables(); ++t) {
      const TensorRef& ids = io.inputs[2 * t];
      std::byte* expanded = repeats(io, t, sum.all_rows) ? take_ids(workspace, io, t, sum.all_rows) : nullptr;
      if (expanded != nullptr)
        nd_copy(team_of(device), kernels_,
                {element_bytes(ids.dtype), state.dims, state.from_strides[t], state.to_strides}, ids.data, expanded);
      const void* flat = expanded != nullptr ? expanded : ids.data;
      EmbeddingTable& table = sum.tables[t];
      table.data = io.inputs[2 * t + 1].data;
      table.type = io.inputs[2 * t + 1].dtype;
      table.table_rows = io.inputs[2 * t + 1].dims[0];
      if (ids.dtype == DType::i64)
        table.ids64 = static_cast<const int64_t*>(flat);
      else
        table.ids32 = static_cast<const int32_t*>(flat);
    }
    const Norm norm = norm_of(io);
    if (!embedding_sum(team_of(device), kernels_.embedding, sum, kernels_.norm, &norm))
      fail(ErrorCode::invalid_argument, "an id lies outside of its embedding table");
  }

 private:
  size_t tables() const { return static_cast<size_t>(op_.num_tables); }
  bool picks(const StepIo& io) const { return io.inputs.size() > picked_operand(op_); }
  // What the ids broadcast to.
  std::vector<int64_t> row_dims(const StepIo& io) const {
    std::vector<int64_t> dims;
    for (size_t t = 0; t < tables(); ++t) dims = reference::broadcast_sizes(dims, io.inputs[2 * t].dims);
    return dims;
  }
  static bool repeats(const StepIo& io, size_t table, int64_t rows) { return io.inputs[2 * table].elements() != rows; }
  static std::byte* take_ids(Workspace& workspace, const StepIo& io, size_t table, int64_t rows) {
    return workspace.take(static_cast<size_t>(rows * element_bytes(io.inputs[2 * table].dtype)));
  }

  Norm norm_of(const StepIo& io) const {
    Norm norm;
    norm.rms = op_.kind == NormKind::rms;
    norm.epsilon = static_cast<float>(op_.epsilon);
    norm.scale = io.inputs[2 * tables()].as<const float>();
    if (io.inputs.size() > 2 * tables() + 1 && io.inputs[2 * tables() + 1].present)
      norm.shift = io.inputs[2 * tables() + 1].as<const float>();
    norm.y = io.outputs[0].as<float>();
    norm.ldy = io.outputs[0].dims.back();
    return norm;
  }

  lathe::Embedding op_;
  const KernelTable& kernels_;
};

std::string why_not(const lathe::Embedding& op, const Node& node) {
  if (op.num_tables > kMaxEmbeddingTables) return fmt::format("more than {} tables", kMaxEmbeddingTables);
  const auto tables = static_cast<size_t>(op.num_tables);
  for (size_t i = 0; i < node.inputs().size(); ++i) {
    const bool ids = i < 2 * tables && i % 2 == 0, table = i < 2 * tables && !ids;
    if (i == picked_operand(op)) continue;
    const Value* value = node.input(i);
    if (value == nullptr) continue;
    if (ids && value->dtype() != DType::i64 && value->dtype() != DType::i32) return "ids are not i32 or i64";
    if (table && is_half(value->dtype())) continue;
    if (!ids && value->dtype() != DType::f32) return "computes in f32 only, not " + to_string(value->type());
  }
  return {};
}

}  // namespace

Candidates lower(const lathe::Embedding& op, const Node& node, const Target& target) {
  if (std::string why = why_not(op, node); !why.empty()) return {decline("embedding", std::move(why))};
  return {accept("embedding", [&op, &kernels = target.kernels] { return plain_step<EmbeddingStep>(op, kernels); })};
}

}  // namespace lathe::cpu
