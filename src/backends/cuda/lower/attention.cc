// Attention: which kernel, tiles and split of the keys serve a problem. f16 and bf16 use tensor cores (on Hopper
// through its own instructions), f32 plain fp32. Tiles of rows are as large as they can be while the chip is full; when
// even the smallest leave it idle (generation, one query at a time), the keys are cut into parts whose results are
// joined by a second launch.
#include <algorithm>
#include <array>

#include "backends/cuda/kernels/attention_args.h"
#include "backends/cuda/lower/lower.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

constexpr size_t kExtras = 3;     // the first operand after q, k, v
constexpr size_t kSpaceAxes = 4;  // batch, head, query, key
constexpr int64_t kMaxHead = 256;
constexpr int kCombineThreads = 128;
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

// A kernel and how it is cut into tiles.
struct Tiling {
  const char* file;
  int64_t rows, keys;
  int threads, tiles;   // tiles: of 16 rows per warp, on tensor cores
  int64_t head, value;  // features of a head, padded
  size_t shared_bytes;
};

Tiling tensor_tiling(const lathe::Attention& op, int64_t rows, int64_t keys, int threads, int tiles) {
  const int64_t head = round_up(op.head_dim, 16), value = round_up(op.value_dim, 16);
  const auto tile = [&](int64_t width, HeadOrder order) {
    return order == HeadOrder::transposed ? width * (keys + 8) : keys * (width + 8);
  };
  const int64_t halves = rows * (head + 8) + tile(head, op.k_order) + tile(value, op.v_order);
  return {"attention.cu", rows, keys, threads, tiles, head, value, static_cast<size_t>(halves) * 2};
}

Tiling f32_tiling(const lathe::Attention& op, int64_t rows, int64_t keys) {
  const int64_t head = round_up(op.head_dim, 4), value = round_up(op.value_dim, 64);
  const int64_t pitch = ((head / 4) | 1) * 4;  // as the kernel has it; its values need no more than this
  const int64_t floats = (rows + keys) * pitch + keys * value + rows * (keys + 4);
  return {"attention_f32.cu", rows, keys, 256, 1, head, value, static_cast<size_t>(floats) * sizeof(float)};
}

// The kernel for Hopper has heads of 128 features; what it gains must exceed the padding. With 64, exponentials bound
// both kernels alike.
constexpr int64_t kLeastHopperHead = 96, kHopperHead = 128;

bool suits_hopper(const lathe::Attention& op, const DeviceInfo& device) {
  const auto pads_well = [](int64_t features) { return features >= kLeastHopperHead && features <= kHopperHead; };
  return device.major == 9 && op.k_order != HeadOrder::transposed && op.v_order != HeadOrder::transposed &&
         pads_well(op.head_dim) && pads_well(op.value_dim);
}

Tiling hopper_tiling() {
  const int64_t rows = 128, keys = 128, stages = 2;
  const int64_t halves = (rows + stages * 2 * keys) * kHopperHead;
  return {"attention_sm90.cu", rows, keys, 256, 1, kHopperHead, kHopperHead, static_cast<size_t>(halves) * 2 + 1024};
}

// Largest tiles first. `packed`: operands allow 16-byte packs.
std::vector<Tiling> tilings(const lathe::Attention& op, DType type, bool packed, const DeviceInfo& device) {
  const int64_t most = std::max(op.head_dim, op.value_dim);
  if (type == DType::f32) {
    const int64_t keys = most <= 64 ? 64 : most <= 128 ? 32 : 16;
    return {f32_tiling(op, most <= 128 ? 64 : 32, keys), f32_tiling(op, 16, keys)};
  }
  // As many keys as the registers allow; score programs take some too.
  const bool scored = !op.score.empty();
  std::vector<Tiling> all;
  if (packed && suits_hopper(op, device))
    all.push_back(hopper_tiling());
  else if (most <= 128)
    all.push_back(tensor_tiling(op, 128, most > 64 || scored ? 32 : 64, 128, 2));
  all.push_back(tensor_tiling(op, 64, most > 128 && scored ? 32 : 64, 128, 1));
  all.push_back(tensor_tiling(op, 16, 64, 32, 1));
  std::erase_if(all, [&](const Tiling& tiling) { return tiling.shared_bytes > device.shared_bytes; });
  return all;
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
      : op_(op), target_(target), type_(node.output()->dtype()), vector_(128 / bit_width(type_)) {
    for (const bool packed : {false, true}) tilings_[packed] = tilings(op, type_, packed, target.device);
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
      for (const Tiling& tiling : tilings_[packed]) request(tiling, packed, false);
      request(tilings_[packed].back(), packed, true);
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
            fmt::format("HEAD={}", tiling.head),
            fmt::format("VALUE={}", tiling.value),
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
    return target_.kernels.request({tiling.file, "attention", defines_of(tiling, packed, split), code_});
  }
  const Kernel& request_combine() const {
    Tiling any = tilings_[false].back();
    any.threads = kCombineThreads;
    return target_.kernels.request({"attention_combine.cu", "attention_combine", defines_of(any, false, true), code_});
  }

  void plan(AttentionState& state, bool packed) const {
    AttentionArgs& args = state.args;
    const int64_t rows = int64_t{args.queries} * args.group, pairs = int64_t{args.batch} * args.kv_heads;
    const auto blocks_of = [&](const Tiling& tiling) { return pairs * ceil_div(rows, tiling.rows); };
    size_t choice = 0;
    const std::vector<Tiling>& all = tilings_[packed];
    while (choice + 1 < all.size() && blocks_of(all[choice]) < target_.device.multiprocessors) ++choice;
    const Tiling& tiling = all[choice];
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
    state.shared_bytes = tiling.shared_bytes;
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
  int vector_;                                  // elements in 16 bytes
  std::array<std::vector<Tiling>, 2> tilings_;  // without packs, with
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
