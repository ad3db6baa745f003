// Attention: which kernel, tiles and split of the keys serve a problem. f16 and bf16 use tensor cores, f32 plain fp32.
// Tiles of rows are as large as they can be while the chip is full; when even the smallest leave it idle (generation,
// one query at a time), the keys are cut into parts whose results are joined by a second launch.
#include <algorithm>

#include "backends/cuda/kernels/attention_args.h"
#include "backends/cuda/lower/lower.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

constexpr size_t kExtras = 3;     // the first operand after q, k, v
constexpr size_t kSpaceAxes = 4;  // batch, head, query, key
constexpr int64_t kMaxHead = 256;
constexpr unsigned kCombineThreads = 128;
constexpr int64_t kMaxSplits = 64;
constexpr int64_t kBlocksPerMultiprocessor = 4;  // of the smallest tiles, when the keys are split

int64_t round_up(int64_t x, int64_t multiple) { return ceil_div(x, multiple) * multiple; }

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

// How a kernel is cut into tiles.
struct Tiling {
  int64_t rows, keys;
  int threads, tiles;  // tiles: of 16 rows per warp, on tensor cores
};

// Largest tiles first.
std::vector<Tiling> tilings(bool tensor_cores, int64_t head, int64_t value) {
  const int64_t most = std::max(head, value);
  if (tensor_cores) {
    std::vector<Tiling> all;
    if (most <= 128) all.push_back({128, most <= 64 ? 64 : 48, 128, 2});  // as the registers allow
    all.push_back({64, 64, 128, 1});
    all.push_back({16, 64, 32, 1});
    return all;
  }
  const int64_t keys = most <= 64 ? 64 : most <= 128 ? 32 : 16;
  return {{most <= 128 ? 64 : 32, keys, 256, 1}, {16, keys, 256, 1}};
}

struct AttentionState : StepState {
  AttentionArgs args{};
  int64_t q_offset = 0, k_offset = 0, v_offset = 0;
  const Kernel* kernel = nullptr;
  const Kernel* combine = nullptr;  // when the keys are split
  unsigned blocks = 0, threads = 0, combine_blocks = 0;
  size_t shared_bytes = 0, workspace_bytes = 0;
};

class AttentionStep : public Step {
 public:
  AttentionStep(const lathe::Attention& op, const Node& node, const Target& target)
      : op_(op),
        target_(target),
        type_(node.output()->dtype()),
        tensor_cores_(type_ != DType::f32),
        vector_(tensor_cores_ ? 8 : 4),
        head_(round_up(op.head_dim, tensor_cores_ ? 16 : 4)),
        value_(round_up(op.value_dim, tensor_cores_ ? 16 : 64)),
        tilings_(tilings(tensor_cores_, head_, value_)) {
    // A score program costs nothing when it is empty, but kernels without one need a positive scale.
    if (op.score.empty() && !(op.scale > 0)) score_ = identity_program(type_);
    if (!op.score.empty()) score_ = op.score;
    find_extra_axes(node);
    if (!score_.empty()) {
      std::vector<DType> types = {type_};
      for (size_t i = kExtras; i < node.inputs().size(); ++i) types.push_back(node.inputs()[i]->dtype());
      code_ = program_code(score_, types);
    }
    for (const bool packed : likely_packing(node)) {
      for (const Tiling& tiling : tilings_) request(tiling, packed, false);
      request(tilings_.back(), packed, true);
    }
    request_combine();
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
    args.kv_heads = static_cast<int>(op_.kv_heads);
    args.group = static_cast<int>(op_.heads / op_.kv_heads);
    args.scale = static_cast<float>(op_.scale);
    args.causal_offset = op_.causal ? io.symbols->evaluate(op_.causal_offset) : 0;
    for (size_t i = 0; i < score_.dims().size(); ++i) args.dims[i] = io.symbols->evaluate(score_.dims()[i]);
    for (size_t i = kExtras; i < io.inputs.size(); ++i)
      fill_strides(io.inputs[i].dims, args.extra_strides[i - kExtras]);
    const bool packed =
        packs(q, op_.head_dim, vector_) && packs(k, op_.head_dim, vector_) && packs(v, op_.value_dim, vector_);
    if (q.batch * q.tokens > 0) plan(*state, packed);
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
    for (size_t i = kExtras; i < io.inputs.size(); ++i) args.extras[i - kExtras] = io.inputs[i].data;
    args.partial = static_cast<float*>(workspace);
    const CUstream stream = stream_of(device);
    state.kernel->launch(stream, {state.blocks, static_cast<unsigned>(args.splits)}, state.threads, state.shared_bytes,
                         args);
    if (state.combine != nullptr) state.combine->launch(stream, {state.combine_blocks}, kCombineThreads, 0, args);
  }

 private:
  // Which axes of the scores each extra operand varies along, as far as is known when lowering.
  void find_extra_axes(const Node& node) {
    for (size_t i = kExtras; i < node.inputs().size(); ++i) {
      const Shape& shape = node.inputs()[i]->shape();
      for (size_t axis = 0; axis < shape.size(); ++axis)
        if (shape[shape.size() - 1 - axis] != Dim(1)) extra_axes_ |= uint64_t{1} << (4 * (i - kExtras) + axis);
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

  std::vector<std::string> defines_of(const Tiling& tiling, bool packed, bool split) const {
    const auto flag = [](bool value) { return value ? 1 : 0; };
    return {fmt::format("ELEMENT={}", cuda_type(type_)),
            fmt::format("HEAD={}", head_),
            fmt::format("VALUE={}", value_),
            fmt::format("HEAD_DIM={}", op_.head_dim),
            fmt::format("VALUE_DIM={}", op_.value_dim),
            fmt::format("ROWS={}", tiling.rows),
            fmt::format("KEYS={}", tiling.keys),
            fmt::format("THREADS={}", tiling.threads),
            fmt::format("TILES={}", tiling.tiles),
            fmt::format("VECTOR={}", packed ? vector_ : 1),
            fmt::format("CAUSAL={}", flag(op_.causal)),
            fmt::format("SCORE={}", flag(!score_.empty())),
            fmt::format("SPLIT={}", flag(split)),
            fmt::format("K_TRANSPOSED={}", flag(op_.k_order == HeadOrder::transposed)),
            fmt::format("V_TRANSPOSED={}", flag(op_.v_order == HeadOrder::transposed)),
            fmt::format("EXTRA_AXES=0x{:x}ull", extra_axes_)};
  }

  const Kernel& request(const Tiling& tiling, bool packed, bool split) const {
    const char* file = tensor_cores_ ? "attention.cu" : "attention_f32.cu";
    return target_.kernels.request({file, "attention", defines_of(tiling, packed, split), code_});
  }
  const Kernel& request_combine() const {
    const Tiling any{1, 1, kCombineThreads, 1};
    return target_.kernels.request({"attention_combine.cu", "attention_combine", defines_of(any, false, true), code_});
  }

  size_t shared_bytes(const Tiling& tiling) const {
    if (!tensor_cores_) {
      const int64_t head_pitch = ((head_ / 4) | 1) * 4;
      const int64_t floats =
          (tiling.rows + tiling.keys) * head_pitch + tiling.keys * value_ + tiling.rows * (tiling.keys + 4);
      return static_cast<size_t>(floats) * sizeof(float);
    }
    const auto tile = [&](int64_t width, bool transposed) {
      return transposed ? width * (tiling.keys + 8) : tiling.keys * (width + 8);
    };
    const int64_t halves = tiling.rows * (head_ + 8) + tile(head_, op_.k_order == HeadOrder::transposed) +
                           tile(value_, op_.v_order == HeadOrder::transposed);
    return static_cast<size_t>(halves) * 2;
  }

  void plan(AttentionState& state, bool packed) const {
    AttentionArgs& args = state.args;
    const int64_t rows = int64_t{args.queries} * args.group, pairs = int64_t{args.batch} * args.kv_heads;
    const auto blocks_of = [&](const Tiling& tiling) { return pairs * ceil_div(rows, tiling.rows); };
    size_t choice = 0;
    while (choice + 1 < tilings_.size() && blocks_of(tilings_[choice]) < target_.device.multiprocessors) ++choice;
    const Tiling& tiling = tilings_[choice];
    const int64_t blocks = blocks_of(tiling), key_tiles = std::max<int64_t>(ceil_div(args.keys, tiling.keys), 1);
    int64_t splits = 1;
    if (blocks < target_.device.multiprocessors)
      splits = std::clamp<int64_t>(target_.device.multiprocessors * kBlocksPerMultiprocessor / blocks, 1,
                                   std::min(kMaxSplits, ceil_div(key_tiles, 2)));
    const int64_t tiles_per_split = ceil_div(key_tiles, splits);
    splits = ceil_div(key_tiles, tiles_per_split);
    args.splits = static_cast<int>(splits);
    args.keys_per_split = static_cast<int>(tiles_per_split * tiling.keys);
    state.kernel = &request(tiling, packed, splits > 1);
    state.blocks = static_cast<unsigned>(blocks);
    state.threads = static_cast<unsigned>(tiling.threads);
    state.shared_bytes = shared_bytes(tiling);
    if (splits > 1) {
      state.combine = &request_combine();
      state.combine_blocks = static_cast<unsigned>(pairs * rows);
      state.workspace_bytes = static_cast<size_t>(splits * pairs * rows * (op_.value_dim + 2)) * sizeof(float);
    }
    target_.kernels.build();
  }

  const lathe::Attention& op_;
  const Target& target_;
  DType type_;
  bool tensor_cores_;
  int vector_;  // elements in 16 bytes
  int64_t head_, value_;
  std::vector<Tiling> tilings_;
  MapProgram score_;
  std::string code_;
  uint64_t extra_axes_ = 0;
};

std::string why_not(const lathe::Attention& op, const Node& node) {
  const DType type = node.output()->dtype();
  if (type != DType::f32 && type != DType::f16 && type != DType::bf16) return "element type";
  if (op.head_dim > kMaxHead || op.value_dim > kMaxHead) return "heads of more than 256 features";
  if (node.inputs().size() > kExtras + kAttentionMaxExtras) return "too many operands";
  if (op.score.dims().size() > kAttentionMaxDims) return "too many dimension expressions";
  if (op.score.empty()) return {};
  std::vector<DType> types = {type};
  for (size_t i = kExtras; i < node.inputs().size(); ++i) types.push_back(node.inputs()[i]->dtype());
  return why_unsupported(op.score, types);
}

}  // namespace

Candidates lower(const lathe::Attention& op, const Node& node, const Target& target) {
  if (std::string why = why_not(op, node); !why.empty()) return {decline("attention", std::move(why))};
  return {accept("attention", [&] { return Lowered{std::make_unique<AttentionStep>(op, node, target), {}}; })};
}

}  // namespace lathe::cuda
