// Attention. Score programs that only scale and mask become parameters of the kernel, the mask computed once over no
// more axes than it depends on; all others run on blocks of scores, between the two products.
#include "backends/cpu/kernels/attention.h"

#include <atomic>
#include <new>

#include "backends/cpu/lower/lower.h"
#include "backends/cpu/lower/map_step.h"
#include "backends/cpu/lower/rounded_operands.h"
#include "backends/score_form.h"
#include "base/error.h"

namespace lathe::cpu {
namespace {

constexpr size_t kSpaceAxes = 4;  // batch, head, query, key
constexpr size_t kStarts = 3;     // the operand of packed tokens that says where sequences begin

struct Heads {
  int64_t batch, tokens;
  AttentionOperand where;
};

Heads locate(const float* data, std::span<const int64_t> dims, HeadOrder order, int64_t offset, int64_t stride) {
  if (data != nullptr && dims.size() == 3) data += offset;
  switch (order) {
    case HeadOrder::token_major: return {dims[0], dims[1], {data, dims[1] * dims[2], dims[2], stride, 1}};
    case HeadOrder::seq_major: return {dims[1], dims[0], {data, dims[2], dims[1] * dims[2], stride, 1}};
    case HeadOrder::head_major:
      return {dims[0], dims[2], {data, dims[1] * dims[2] * dims[3], dims[3], dims[2] * dims[3], 1}};
    default: return {dims[0], dims[3], {data, dims[1] * dims[2] * dims[3], 1, dims[2] * dims[3], dims[3]}};
  }
}

struct AttentionState : StepState {
  Attention kernel;
  std::vector<int64_t> space, mask_dims;
  std::unique_ptr<MapState> program;  // of the mask, or of the scores
};

// Lends each concurrent call of the score function its own registers: there are as many as threads.
class ScratchPool {
 public:
  static size_t bytes(int threads, size_t each) {
    return sizeof(std::atomic_flag) * static_cast<size_t>(threads) + 64 + static_cast<size_t>(threads) * each;
  }

  ScratchPool(void* memory, int threads, size_t each) : threads_(threads), each_(each) {
    flags_ = static_cast<std::atomic_flag*>(memory);
    for (int t = 0; t < threads; ++t) new (flags_ + t) std::atomic_flag;
    const size_t head = (sizeof(std::atomic_flag) * static_cast<size_t>(threads) + 63) / 64 * 64;
    scratch_ = static_cast<std::byte*>(memory) + head;
  }
  std::byte* at(int slot) { return scratch_ + static_cast<size_t>(slot) * each_; }
  int take() {
    for (int slot = 0;; slot = slot + 1 == threads_ ? 0 : slot + 1)
      if (!flags_[slot].test_and_set(std::memory_order_acquire)) return slot;
  }
  void give(int slot) { flags_[slot].clear(std::memory_order_release); }

 private:
  int threads_;
  size_t each_;
  std::atomic_flag* flags_;
  std::byte* scratch_;
};

struct ScoreCall {
  const MapPlan& plan;
  std::span<const void* const> inputs;
  const std::vector<int64_t>& space;
  ScratchPool& pool;
  bool packed;
};

void map_scores(void* context, const ScoreRegion& region) noexcept {
  const ScoreCall& call = *static_cast<const ScoreCall*>(context);
  const int slot = call.pool.take();
  for (int64_t r = 0; r < region.rows; ++r) {
    const int64_t batch = call.packed ? 0 : region.batch;
    const int64_t row = (batch * call.space[1] + region.head) * call.space[2] + region.query + r;
    const int64_t begin = row * call.space[3] + region.key;
    float* scores = region.scores + r * region.ld;
    call.plan.run_range(call.inputs, scores, scores, begin, begin + region.keys, call.pool.at(slot));
  }
  call.pool.give(slot);
}

class AttentionStep : public Step {
 public:
  AttentionStep(const lathe::Attention& op, const KernelTable& kernels, const GemmBf16Kernels* unit)
      : op_(op), extras_(first_extra(op)), kernels_(kernels), unit_(unit), form_(match_score(op.score)) {
    if (!form_)
      program_ = std::make_unique<MapCode>(op.score, kernels.map);
    else if (!form_->mask.empty())
      program_ = std::make_unique<MapCode>(form_->mask, kernels.map);
    plain_mask_ = form_ && form_->mask.code().size() == 1 && form_->mask.code()[0].op == MapOp::input;
  }

  size_t workspace_bytes(const StepIo& io) const override {
    AttentionState state;
    plan(io, state);
    Workspace workspace;
    cut(workspace, state, io.threads);
    return workspace.used();
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<AttentionState>();
    plan(io, *state);
    if (program_ == nullptr || plain_mask_) return state;
    std::vector<std::span<const int64_t>> dims = {state->space};
    for (size_t i = extras_; i < io.inputs.size(); ++i) dims.push_back(io.inputs[i].dims);
    // The mask program does not read the product, whose place is given by one element.
    static constexpr int64_t kOne[] = {1};
    if (form_) dims[0] = kOne;
    state->program = std::make_unique<MapState>(*program_, dims, form_ ? state->mask_dims : state->space, *io.symbols);
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void* memory, DeviceContext& device) const override {
    const auto& state = *static_cast<const AttentionState*>(prepared);
    if (io.outputs[0].elements() == 0) return;
    Workspace workspace(memory);
    const Parts parts = cut(workspace, state, io.threads);
    Attention kernel = state.kernel;
    place(io, kernel);
    if (op_.packed) kernel.q_offsets = kernel.k_offsets = checked_starts(io, kernel.q_len);
    const void* inputs[kMaxMapInputs] = {};
    for (size_t i = extras_; i < io.inputs.size(); ++i) inputs[i - extras_ + 1] = io.inputs[i].data;
    const std::span<const void* const> program_inputs(inputs, io.inputs.size() - extras_ + 1);
    if (form_ || program_ == nullptr) {
      kernel.mask.data = mask(state, program_inputs, parts, team_of(device));
      return attention(team_of(device), kernels_.gemm, kernels_.attention, kernel, parts.kernel);
    }
    ScratchPool pool(parts.map, io.threads, program_->scratch_bytes());
    for (int t = 0; t < io.threads; ++t) state.program->plan.start(pool.at(t));
    ScoreCall call{state.program->plan, program_inputs, state.space, pool, op_.packed};
    kernel.score_map = map_scores;
    kernel.score_context = &call;
    attention(team_of(device), kernels_.gemm, kernels_.attention, kernel, parts.kernel);
  }

 private:
  struct Parts {
    float *kernel = nullptr, *mask = nullptr;
    std::byte* map = nullptr;
  };

  Parts cut(Workspace& workspace, const AttentionState& state, int threads) const {
    Parts parts;
    parts.kernel = workspace.floats(attention_workspace_floats(kernels_.gemm, state.kernel, threads));
    if (program_ == nullptr || plain_mask_) return parts;
    if (form_) parts.mask = workspace.floats(element_count(state.mask_dims));
    parts.map = workspace.take(ScratchPool::bytes(threads, program_->scratch_bytes()));
    return parts;
  }

  const float* mask(const AttentionState& state, std::span<const void* const> inputs, const Parts& parts,
                    ThreadTeam& team) const {
    if (program_ == nullptr) return nullptr;
    if (plain_mask_) return static_cast<const float*>(inputs[static_cast<size_t>(form_->mask.code()[0].args[0])]);
    state.program->plan.run(team, inputs, parts.mask, parts.map);
    return parts.mask;
  }

  // Sizes of the mask: 1 along the axes that it does not depend on.
  std::vector<int64_t> mask_dims(const StepIo& io, std::span<const int64_t> space) const {
    std::vector<int64_t> dims(kSpaceAxes, 1);
    for (const MapInstr& instr : form_->mask.code()) {
      if (instr.op == MapOp::iota) {
        const auto axis = static_cast<size_t>(instr.args[0] + static_cast<int64_t>(kSpaceAxes));
        dims[axis] = space[axis];
      }
      if (instr.op != MapOp::input) continue;
      const auto& extra = io.inputs[static_cast<size_t>(instr.args[0]) + extras_ - 1].dims;
      for (size_t back = 1; back <= std::min(extra.size(), kSpaceAxes); ++back)
        if (extra[extra.size() - back] != 1) dims[kSpaceAxes - back] = space[kSpaceAxes - back];
    }
    return dims;
  }

  void place(const StepIo& io, Attention& a) const {
    a.q = locate(io.inputs[0].as<const float>(), io.inputs[0].dims, op_.q_order, op_.q_offset, op_.q_stride).where;
    a.k = locate(io.inputs[1].as<const float>(), io.inputs[1].dims, op_.k_order, op_.k_offset, op_.k_stride).where;
    a.v = locate(io.inputs[2].as<const float>(), io.inputs[2].dims, op_.v_order, op_.v_offset, op_.v_stride).where;
    const Heads out = locate(nullptr, io.outputs[0].dims, op_.output_order, 0, op_.value_dim);
    a.out = io.outputs[0].as<float>();
    a.out_stride_b = out.where.stride_b;
    a.out_stride_s = out.where.stride_s;
    a.out_stride_h = out.where.stride_h;
  }

  static const int32_t* checked_starts(const StepIo& io, int64_t longest) {
    const auto* starts = io.inputs[kStarts].as<const int32_t>();
    const int64_t count = io.inputs[kStarts].elements(), tokens = io.inputs[0].dims[1];
    bool fits = count > 0 && starts[0] == 0 && starts[count - 1] == tokens;
    for (int64_t s = 1; s < count; ++s) fits &= starts[s] >= starts[s - 1] && starts[s] - starts[s - 1] <= longest;
    if (!fits)
      fail(ErrorCode::invalid_argument, "the starts of sequences of at most {} tokens do not divide {} tokens", longest,
           tokens);
    return starts;
  }

  void plan(const StepIo& io, AttentionState& state) const {
    Attention& a = state.kernel;
    place(io, a);
    const Heads q = locate(nullptr, io.inputs[0].dims, op_.q_order, 0, 0),
                k = locate(nullptr, io.inputs[1].dims, op_.k_order, 0, 0);
    a.batch = q.batch;
    a.heads = op_.heads;
    a.kv_heads = op_.kv_heads;
    a.q_len = q.tokens;
    a.kv_len = k.tokens;
    a.head_dim = op_.head_dim;
    a.v_dim = op_.value_dim;
    a.scale = static_cast<float>(op_.scale * (form_ ? form_->scale : 1));
    a.softcap = form_ ? form_->softcap : 0;
    a.zero_masked_rows = true;
    a.unit = unit_;
    if (op_.causal) {
      a.right = 0;
      a.offset = io.symbols->evaluate(op_.causal_offset);
    }
    state.space = {a.batch, a.heads, a.q_len, a.kv_len};
    if (op_.packed) {
      a.batch = io.inputs[kStarts].elements() - 1;
      a.fills_up = true;
      a.q_len = a.kv_len = std::min(a.q_len, io.symbols->evaluate(op_.longest));
    }
    if (!form_) a.score_map = map_scores;
    if (!form_ || form_->mask.empty()) return;
    state.mask_dims = mask_dims(io, state.space);
    const std::vector<int64_t> strides = broadcast_strides(state.mask_dims, state.space);
    a.mask = {nullptr, strides[0], strides[1], strides[2], strides[3]};
  }

  lathe::Attention op_;
  size_t extras_;  // the first operand that the score reads
  const KernelTable& kernels_;
  const GemmBf16Kernels* unit_;  // null: f32
  std::optional<ScoreForm> form_;
  std::unique_ptr<MapCode> program_;
  bool plain_mask_ = false;  // an f32 operand is the mask as it stands
};

std::string why_not(const lathe::Attention& op, const Node& node, const MapKernels& kernels) {
  for (size_t i = 0; i < kStarts; ++i)
    if (node.input(i)->dtype() != DType::f32) return "computes in f32 only, not " + to_string(node.input(i)->type());
  if (op.score.empty()) return {};
  if (op.score.result_type() != DType::f32) return "scores are f32 only";
  if (node.inputs().size() - first_extra(op) + 1 > kMaxMapInputs) return "too many inputs";
  return MapCode::why_unsupported(op.score, kernels);
}

}  // namespace

Candidates lower(const lathe::Attention& op, const Node& node, const Target& target) {
  std::string why = why_not(op, node, target.kernels.map);
  if (!why.empty()) return {decline("attention", std::move(why))};
  const auto candidate = [&op, &kernels = target.kernels](const char* name, const GemmBf16Kernels* unit) {
    return accept(name, [&op, &kernels, unit] { return plain_step<AttentionStep>(op, kernels, unit); });
  };
  why = why_not_bf16(node, target);
  return {why.empty() ? candidate("attention_bf16", target.bf16) : decline("attention_bf16", std::move(why)),
          candidate("attention", nullptr)};
}

}  // namespace lathe::cpu
