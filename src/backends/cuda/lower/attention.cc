// Attention. f16 and bf16 use tensor cores (on Hopper through its own instructions), f32 plain fp32. Score programs
// that only scale and add a number for each key run once for each key and tile; all others run on every score. When
// tiles of rows cannot fill the chip (generation, one query at a time), the keys are cut into parts whose results are
// joined by a second launch.
#include <algorithm>
#include <array>

#include "backends/cuda/api/tensor_map.h"
#include "backends/cuda/kernels/attention_args.h"
#include "backends/cuda/lower/attention_tiling.h"
#include "backends/cuda/lower/lower.h"
#include "backends/cuda/program_code.h"
#include "backends/score_form.h"

namespace lathe::cuda {
namespace {

constexpr size_t kStarts = 3;     // the operand of packed tokens that says where sequences begin
constexpr size_t kSpaceAxes = 4;  // batch, head, query, key
constexpr int64_t kMaxHead = 256;
constexpr int kCombineThreads = 128;
constexpr int64_t kMaxCausalOffset = int64_t{1} << 30;
bool in_columns(HeadOrder order) { return order == HeadOrder::token_major || order == HeadOrder::seq_major; }

struct Located {
  int64_t batch, tokens;
  AttentionView view;
  int64_t offset;  // of the first head
};

Located locate(std::span<const int64_t> dims, HeadOrder order, int64_t offset, int64_t stride) {
  switch (order) {
    case HeadOrder::token_major: return {dims[0], dims[1], {nullptr, dims[1] * dims[2], dims[2], stride, 1}, offset};
    case HeadOrder::seq_major: return {dims[1], dims[0], {nullptr, dims[2], dims[1] * dims[2], stride, 1}, offset};
    case HeadOrder::head_major:
      return {dims[0], dims[2], {nullptr, dims[1] * dims[2] * dims[3], dims[3], dims[2] * dims[3], 1}, 0};
    default: return {dims[0], dims[3], {nullptr, dims[1] * dims[2] * dims[3], 1, dims[2] * dims[3], dims[3]}, 0};
  }
}

// True when 16-byte packs of an operand never straddle rows and are aligned: `width` features, or tokens if transposed.
bool packs(const Located& located, int64_t width, int64_t vector) {
  const AttentionView& view = located.view;
  if (view.feature != 1) return view.feature % vector == 0 && located.tokens % vector == 0;
  const bool strides = view.batch % vector == 0 && view.head % vector == 0 && view.token % vector == 0;
  return strides && width % vector == 0 && located.offset % vector == 0;
}

// The score program as the kernel is to run it.
struct Score {
  ScoreKind kind = ScoreKind::none;
  MapProgram program;
  double scale = 1;  // of the product, besides the op's own
};

// What a program that reads `extras` leaves to run. Kernels for tensor cores know of biases of keys.
Score read_score(const lathe::Attention& op, DType type, std::span<Value* const> extras) {
  // Kernels without a program need a positive scale.
  if (op.score.empty()) return op.scale > 0 ? Score{} : Score{ScoreKind::program, identity_program(type)};
  const auto general = [&] { return Score{ScoreKind::program, op.score}; };
  const std::optional<ScoreForm> form = match_score(op.score);
  if (!form || form->softcap != 0 || !(op.scale * form->scale > 0)) return general();
  if (form->mask.empty()) return {ScoreKind::none, {}, form->scale};
  if (type == DType::f32) return general();
  const auto varies_by_head_or_query = [](const Shape& shape) {
    const auto one = [&](size_t back) { return shape.size() < back || shape[shape.size() - back] == Dim(1); };
    return !one(2) || !one(3);
  };
  for (const MapInstr& instr : form->mask.code()) {
    if (instr.op == MapOp::iota && instr.args[0] != -1 && instr.args[0] != -4) return general();
    if (instr.op == MapOp::input && varies_by_head_or_query(extras[static_cast<size_t>(instr.args[0]) - 1]->shape()))
      return general();
  }
  return {ScoreKind::key_bias, form->mask, form->scale};
}

struct AttentionState : StepState {
  AttentionArgs args{};
  int64_t q_offset = 0, k_offset = 0, v_offset = 0;
  const Kernel* kernel = nullptr;
  const Kernel* combine = nullptr;  // when the keys are split
  const Tiling* tiling = nullptr;
  unsigned blocks = 0, combine_blocks = 0;
  size_t workspace_bytes = 0;
};

class AttentionStep : public Step {
 public:
  AttentionStep(const lathe::Attention& op, const Node& node, const Target& target)
      : op_(op),
        extras_(first_extra(op)),
        target_(target),
        type_(node.output()->dtype()),
        vector_(128 / bit_width(type_)) {
    std::vector<DType> types = {type_};
    for (size_t i = extras_; i < node.inputs().size(); ++i) types.push_back(node.inputs()[i]->dtype());
    score_ = read_score(op, type_, std::span(node.inputs()).subspan(extras_));
    if (score_.kind != ScoreKind::none) code_ = program_code(score_.program, types);
    for (const bool packed : {false, true})
      tilings_[packed] = attention_tilings(op, type_, score_.kind, packed, target.device);
    find_extra_axes(node);
    for (const bool packed : likely_packing(node)) {
      for (const Tiling& tiling : tilings_[packed]) request(tiling, packed, false);
      if (!op.packed) request(tilings_[packed].back(), packed, true);
    }
    if (!op.packed) request_combine();
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<AttentionState>();
    AttentionArgs& args = state->args;
    const Located q = locate(io.inputs[0].dims, op_.q_order, op_.q_offset, op_.q_stride);
    const Located k = locate(io.inputs[1].dims, op_.k_order, op_.k_offset, op_.k_stride);
    const Located v = locate(io.inputs[2].dims, op_.v_order, op_.v_offset, op_.v_stride);
    const Located y = locate(io.outputs[0].dims, op_.output_order, 0, op_.value_dim);
    args.q = q.view, args.k = k.view, args.v = v.view, args.y = y.view;
    state->q_offset = q.offset, state->k_offset = k.offset, state->v_offset = v.offset;
    args.batch = static_cast<int>(q.batch);
    args.queries = static_cast<int>(q.tokens);
    args.keys = static_cast<int>(k.tokens);
    if (op_.packed) {
      args.batch = static_cast<int>(io.inputs[kStarts].elements()) - 1;
      args.tokens = args.keys;
      args.queries = args.keys = static_cast<int>(std::min(k.tokens, io.symbols->evaluate(op_.longest)));
    }
    const int64_t offset = op_.causal ? io.symbols->evaluate(op_.causal_offset) : 0;
    args.causal_offset = static_cast<int>(std::clamp<int64_t>(offset, -kMaxCausalOffset, kMaxCausalOffset));
    for (size_t i = extras_; i < io.inputs.size(); ++i)
      fill_strides(io.inputs[i].dims, args.extra_strides[i - extras_]);
    const bool packed =
        packs(q, op_.head_dim, vector_) && packs(k, op_.head_dim, vector_) && packs(v, op_.value_dim, vector_);
    if (q.batch * q.tokens == 0 || (op_.packed && (args.batch < 1 || args.keys < 1))) return state;
    plan(*state, packed);
    args.scale = static_cast<float>(op_.scale * score_.scale);
    for (size_t i = 0; i < score_.program.dims().size(); ++i)
      args.dims[i] = io.symbols->evaluate(score_.program.dims()[i]);
    return state;
  }

  size_t workspace_bytes(const StepIo& io) const override {
    return static_cast<const AttentionState&>(*prepare(io)).workspace_bytes;
  }

  void run(const StepIo& io, const StepState* prepared, void* workspace, DeviceContext& device) const override {
    const auto& state = *static_cast<const AttentionState*>(prepared);
    if (state.blocks == 0) return;
    AttentionArgs args = state.args;
    const auto at = [&](size_t i, int64_t offset) {
      return io.inputs[i].as<std::byte>() + offset * (bit_width(type_) / 8);
    };
    args.q.data = at(0, state.q_offset);
    args.k.data = at(1, state.k_offset);
    args.v.data = at(2, state.v_offset);
    args.y.data = io.outputs[0].data;
    if (op_.packed) args.starts = io.inputs[kStarts].as<const int>();
    for (size_t i = extras_; i < io.inputs.size(); ++i) args.extras[i - extras_] = io.inputs[i].data;
    args.partial = static_cast<float*>(workspace);
    const CUstream stream = stream_of(device);
    const Tiling& tiling = *state.tiling;
    const auto threads = static_cast<unsigned>(tiling.threads);
    if (tiling.hopper()) {
      const unsigned blocks = std::min(args.tiles, static_cast<unsigned>(target_.device.multiprocessors));
      state.kernel->launch(stream, {blocks}, threads, tiling.shared_bytes, args,
                           map_of(args.k, args, op_.head_dim, tiling), map_of(args.v, args, op_.value_dim, tiling));
    } else {
      state.kernel->launch(stream, {state.blocks, static_cast<unsigned>(args.splits)}, threads, tiling.shared_bytes,
                           args);
    }
    if (state.combine != nullptr) state.combine->launch(stream, {state.combine_blocks}, kCombineThreads, 0, args);
  }

 private:
  // Which axes of the scores each extra operand varies along, as far as is known when lowering.
  void find_extra_axes(const Node& node) {
    for (size_t i = extras_; i < node.inputs().size(); ++i) {
      const Shape& shape = node.inputs()[i]->shape();
      for (size_t axis = 0; axis < shape.size(); ++axis)
        if (shape[shape.size() - 1 - axis] != Dim(1)) extra_axes_ |= uint64_t{1} << (4 * (i - extras_) + axis);
    }
  }

  static void fill_strides(std::span<const int64_t> dims, long long* strides) {
    long long stride = 1;
    for (size_t axis = dims.size(); axis-- > 0;) {
      strides[kSpaceAxes - dims.size() + axis] = dims[axis] == 1 ? 0 : stride;
      stride *= dims[axis];
    }
  }

  // Whether packs may be read, as far as it is known when lowering; otherwise both.
  std::vector<bool> likely_packing(const Node& node) const {
    if (op_.head_dim % vector_ != 0 || op_.value_dim % vector_ != 0) return {false};
    bool certain = true;
    const auto look = [&](size_t operand, HeadOrder order, int64_t offset, int64_t stride) {
      if (order == HeadOrder::transposed) certain = false;
      if (!in_columns(order)) return true;
      const Dim& columns = node.inputs()[operand]->shape()[2];
      if (!columns.is_constant()) certain = false;
      return offset % vector_ == 0 && stride % vector_ == 0 &&
             (!columns.is_constant() || columns.value() % vector_ == 0);
    };
    if (!look(0, op_.q_order, op_.q_offset, op_.q_stride) || !look(1, op_.k_order, op_.k_offset, op_.k_stride) ||
        !look(2, op_.v_order, op_.v_offset, op_.v_stride))
      return {false};
    return certain ? std::vector<bool>{true} : std::vector<bool>{true, false};
  }

  // Of the lines of 64 features in which the copy engine brings keys or values.
  CUtensorMap map_of(const AttentionView& view, const AttentionArgs& args, int64_t features,
                     const Tiling& tiling) const {
    constexpr int64_t kLine = 64, kHalf = 2;
    const int64_t batch = op_.packed ? 1 : args.batch, tokens = op_.packed ? args.tokens : args.keys;
    const std::array<int64_t, 4> sizes = {features, tokens, op_.kv_heads, batch}, box = {kLine, tiling.keys, 1, 1};
    const auto bytes = [&](long long stride, int64_t size) { return size == 1 ? kTensorMapAlignment : stride * kHalf; };
    const std::array<int64_t, 3> strides = {bytes(view.token, tokens), bytes(view.head, op_.kv_heads),
                                            bytes(view.batch, batch)};
    return make_tensor_map(target_.kernels.device().driver(), view.data, {2, sizes, strides, box});
  }

  std::vector<std::string> defines_of(const Tiling& tiling, bool packed, bool split) const {
    const auto flag = [](bool value) { return value ? 1 : 0; };
    std::vector<std::string> all = tiling.defines();
    for (std::string define :
         {fmt::format("ELEMENT={}", cuda_type(type_)), fmt::format("KV_HEADS={}", op_.kv_heads),
          fmt::format("GROUP={}", op_.heads / op_.kv_heads), fmt::format("HEAD_DIM={}", op_.head_dim),
          fmt::format("VALUE_DIM={}", op_.value_dim), fmt::format("VECTOR={}", packed ? vector_ : 1),
          fmt::format("CAUSAL={}", flag(op_.causal)), fmt::format("SCORE={}", static_cast<int>(score_.kind)),
          fmt::format("SPLIT={}", flag(split)), fmt::format("PACKED={}", flag(op_.packed)),
          fmt::format("K_TRANSPOSED={}", flag(op_.k_order == HeadOrder::transposed)),
          fmt::format("V_TRANSPOSED={}", flag(op_.v_order == HeadOrder::transposed)),
          fmt::format("EXTRA_AXES=0x{:x}ull", extra_axes_)})
      all.push_back(std::move(define));
    return all;
  }

  const Kernel& request(const Tiling& tiling, bool packed, bool split) const {
    return target_.kernels.request({tiling.file, "attention", defines_of(tiling, packed, split), code_});
  }
  const Kernel& request_combine() const {
    Tiling any = tilings_[false].back();
    any.threads = kCombineThreads;
    return target_.kernels.request({"attention_combine.cu", "attention_combine", defines_of(any, false, true), code_});
  }

  void plan(AttentionState& state, bool packed) const {
    AttentionArgs& args = state.args;
    const int64_t rows = args.queries * (op_.heads / op_.kv_heads), pairs = args.batch * op_.kv_heads;
    // The last sequence of all only fills up, and mostly is short.
    const int64_t typical =
        op_.packed ? std::clamp<int64_t>(args.tokens / std::max(args.batch - 1, 1), 1, args.keys) : 0;
    const AttentionPlan plan =
        plan_attention(tilings_[packed], {pairs, rows, args.keys, op_.causal, typical}, target_.device.multiprocessors);
    args.splits = static_cast<int>(plan.splits);
    args.keys_per_split = static_cast<int>(plan.keys_per_split);
    args.tiles = static_cast<unsigned>(plan.blocks * plan.splits);
    const int64_t bytes_of_keys = int64_t{args.keys} * (op_.head_dim + op_.value_dim) * (bit_width(type_) / 8);
    const auto cache = static_cast<int64_t>(target_.device.l2_bytes / 8);  // much of it holds what others have read
    const int64_t in_cache = cache / std::max<int64_t>(bytes_of_keys, 1);
    args.section = static_cast<int>(std::clamp<int64_t>(in_cache, 1, pairs));
    state.tiling = plan.tiling;
    state.kernel = &request(*plan.tiling, packed, plan.splits > 1);
    state.blocks = static_cast<unsigned>(plan.blocks);
    if (plan.splits > 1) {
      state.combine = &request_combine();
      state.combine_blocks = static_cast<unsigned>(pairs * rows);
      state.workspace_bytes = static_cast<size_t>(plan.splits * pairs * rows * (op_.value_dim + 2)) * sizeof(float);
    }
    target_.kernels.build();
  }

  const lathe::Attention& op_;
  size_t extras_;  // the first operand that the score reads
  const Target& target_;
  DType type_;
  int vector_;                                  // elements in 16 bytes
  std::array<std::vector<Tiling>, 2> tilings_;  // without packs, with
  Score score_;
  std::string code_;
  uint64_t extra_axes_ = 0;
};

std::string why_not(const lathe::Attention& op, const Node& node) {
  const DType type = node.output()->dtype();
  if (type != DType::f32 && type != DType::f16 && type != DType::bf16) return "element type";
  if (op.head_dim > kMaxHead || op.value_dim > kMaxHead) return "heads of more than 256 features";
  if (node.inputs().size() > first_extra(op) + kAttentionMaxExtras) return "too many operands";
  if (op.score.dims().size() > kAttentionMaxDims) return "too many dimension expressions";
  if (op.score.empty()) return {};
  std::vector<DType> types = {type};
  for (size_t i = first_extra(op); i < node.inputs().size(); ++i) types.push_back(node.inputs()[i]->dtype());
  return why_unsupported(op.score, types);
}

}  // namespace

Candidates lower(const lathe::Attention& op, const Node& node, const Target& target) {
  if (std::string why = why_not(op, node); !why.empty()) return {decline("attention", std::move(why))};
  return {accept_step<AttentionStep>("attention", op, node, target)};
}

}  // namespace lathe::cuda
