// Attention over a paged cache. Where activations have 16 bits and the cache is of their type or has 8, tensor cores:
// sequences with one new token in one launch, whose keys are split, the others in a second. Everything else in fp32.
// What is launched follows from sizes; lengths stay on the device.
#include <algorithm>
#include <array>

#include "backends/cuda/kernels/paged_store_args.h"
#include "backends/cuda/lower/memory_span.h"
#include "backends/cuda/lower/paged_attention_tiling.h"
#include "backends/cuda/lower/rotary.h"
#include "backends/cuda/program_code.h"
#include "graph/paged_cache.h"

namespace lathe::cuda {
namespace {

constexpr int64_t kMaxTensorHead = 256, kMaxHead = 512;  // results of a row are held in registers
constexpr int64_t kPackOfHalves = 8;
constexpr unsigned kStoreThreads = 256, kRowThreads = 128;
constexpr int64_t kRowsPerBlock = kRowThreads / 32;
constexpr int64_t kDecodeBlocks = 40;  // for each multiprocessor: some for each place, several times

struct PagedAttentionState : StepState {
  PagedAttentionArgs args{};
  size_t workspace_bytes = 0;
};

// Why packs of 16 bytes cannot be read, as far as is known when lowering: then elements are.
bool packs(const Node& node, const lathe::PagedAttention& op, int64_t vector) {
  const auto fits = [&](size_t operand, int64_t features, int64_t offset, int64_t stride) {
    const Dim& columns = node.input(operand)->shape()[1];
    return columns.is_constant() && columns.value() % vector == 0 && features % vector == 0 && offset % vector == 0 &&
           stride % vector == 0;
  };
  const bool scaled = CacheRows{node.input(3)->dtype(), op.head_dim, op.block_size}.scaled();
  if (scaled && op.block_size * int64_t{sizeof(float)} % vector != 0) return false;  // heads follow on scales
  return fits(0, op.head_dim, op.q_offset, op.q_stride) && fits(1, op.head_dim, op.k_offset, op.k_stride) &&
         fits(2, op.value_dim, op.v_offset, op.v_stride);
}

int64_t distances(const Node& node) { return node.input(10) == nullptr ? 0 : node.input(10)->shape()[1].value(); }

bool suits_tensor_cores(const lathe::PagedAttention& op, const Node& node) {
  const DType type = node.output()->dtype();
  const DType cache = node.input(3)->dtype();
  return is_half(type) && (cache == type || bit_width(cache) == 8) &&
         std::max(op.head_dim, op.value_dim) <= kMaxTensorHead;
}

// The rotary embedding whose result is an operand, under another shape perhaps, and is read by nobody else.
const Node* turned_heads(const Value& operand, int64_t heads, int64_t head_dim) {
  const Value* value = &operand;
  while (value->users().size() == 1 && !value->is_output() && value->producer() != nullptr) {
    const Node& node = *value->producer();
    if (const auto* rotary = node.as<lathe::Rotary>(); rotary != nullptr) {
      const Shape& shape = value->shape();
      const bool fits = shape.size() == 3 && shape[1] == Dim(heads) && shape[2] == Dim(head_dim);
      return fits && rotary->rotary_dim % (2 * kPackOfHalves) == 0 ? &node : nullptr;
    }
    if (!node.is<lathe::Reshape>()) return nullptr;
    value = node.input(0);
  }
  return nullptr;
}

// What is to be defined for queries and keys to be turned where keys are stored; nothing where that cannot be.
std::optional<std::vector<std::string>> turned_while_stored(const lathe::PagedAttention& op, const Node& node) {
  const int cache = bit_width(node.input(3)->dtype());
  const bool whole = op.q_offset == 0 && op.k_offset == 0 && op.q_stride == op.head_dim && op.k_stride == op.head_dim;
  if (!is_half(node.output()->dtype()) || cache != 16 || !whole || !packs(node, op, kPackOfHalves)) return std::nullopt;
  const Node* queries = turned_heads(*node.input(0), op.heads, op.head_dim);
  const Node* keys = turned_heads(*node.input(1), op.kv_heads, op.head_dim);
  if (queries == nullptr || keys == nullptr || node.input(11) != nullptr) return std::nullopt;
  if (op.head_dim % (2 * kPackOfHalves) != 0 || rotary_defines(*queries) != rotary_defines(*keys)) return std::nullopt;
  return rotary_defines(*keys);
}

class PagedAttentionStep : public Step {
 public:
  PagedAttentionStep(const lathe::PagedAttention& op, const Node& node, const Target& target)
      : op_(op),
        uniform_(target.uniform),
        decode_blocks_(kDecodeBlocks * target.device.multiprocessors),
        element_bytes_(bit_width(node.output()->dtype()) / 8) {
    const DType type = node.output()->dtype(), cache = node.input(3)->dtype();
    const int vector = 128 / std::max(bit_width(type), bit_width(cache));
    std::vector<std::string> defines =
        paged_defines(op, {type, cache, node.input(8) != nullptr, node.input(9) != nullptr, distances(node),
                           node.input(11) != nullptr, node.input(12) != nullptr, target.uniform});
    defines.push_back(fmt::format("VECTOR={}", packs(node, op, vector) ? vector : 1));
    const auto request = [&](const char* file, const char* entry, std::vector<std::string> more) {
      more.insert(more.begin(), defines.begin(), defines.end());
      return &target.kernels.request({file, entry, std::move(more), {}});
    };
    const auto threads = [](unsigned count) { return std::vector{fmt::format("THREADS={}", count)}; };
    std::vector<std::string> storing = threads(kStoreThreads);
    storing.emplace_back("ROTARY=0");
    store_ = request("paged_store.cu", "paged_store", storing);
    if (const auto turned = turned_while_stored(op, node)) {
      storing.back() = "ROTARY=1";
      storing.insert(storing.end(), turned->begin(), turned->end());
      turn_and_store_ = request("paged_store.cu", "paged_store", storing);
    }
    if (suits_tensor_cores(op, node)) {
      decode_ = request("paged_attention.cu", "paged_decode", decode_tiling_.defines());
      if (const auto turned = turned_while_stored(op, node); turned && op.heads <= int64_t{CudaContext::kCounters}) {
        std::vector<std::string> alone = decode_tiling_.defines(/*alone=*/true);
        alone.insert(alone.end(), turned->begin(), turned->end());
        alone_ = request("paged_attention.cu", "paged_decode", alone);
      }
      chunk_ = request("paged_attention.cu", "paged_chunk", chunk_tiling_.defines());
    } else {
      rows_ = request("paged_attention_f32.cu", "paged_attention", threads(kRowThreads));
    }
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<PagedAttentionState>();
    PagedAttentionArgs& args = state->args;
    args.q_row = io.inputs[0].dims[1];
    args.k_row = io.inputs[1].dims[1];
    args.v_row = io.inputs[2].dims[1];
    args.q_stride = static_cast<int>(op_.q_stride);
    args.k_stride = static_cast<int>(op_.k_stride);
    args.v_stride = static_cast<int>(op_.v_stride);
    args.scale = static_cast<float>(op_.scale);
    args.softcap = static_cast<float>(op_.softcap);
    args.tokens = static_cast<int>(io.inputs[0].dims[0]);
    args.keys = static_cast<int>(io.inputs[1].dims[0]);
    args.sequences = static_cast<int>(io.inputs[6].dims[0]);
    args.table_width = static_cast<int>(io.inputs[7].dims[1]);
    const int64_t longest = args.table_width * op_.block_size;
    args.splits = uniform_ ? 1 : static_cast<int>(std::max<int64_t>(ceil_div(longest, kPagedSplitKeys), 1));
    if (args.splits > 1) state->workspace_bytes = partial_bytes(args) + (is_alone(args) ? room_for_turned() : 0);
    return state;
  }

  size_t workspace_bytes(const StepIo& io) const override {
    return static_cast<const PagedAttentionState&>(*prepare(io)).workspace_bytes;
  }

  void run(const StepIo& io, const StepState* prepared, void* workspace, DeviceContext& device) const override {
    PagedAttentionArgs args = static_cast<const PagedAttentionState*>(prepared)->args;
    const int rows = std::max(args.tokens, args.keys);
    if (rows == 0) return;
    place(io, workspace, args);
    auto& context = static_cast<CudaContext&>(device);
    std::unique_ptr<Deferred> before = context.take_deferred();
    const auto* turned = dynamic_cast<const RotaryLaunch*>(before.get());
    if (turned != nullptr && attend_alone(*turned, args, context)) return;
    const CUstream stream = store(std::move(before), args, static_cast<unsigned>(rows), context);
    if (args.sequences == 0 || args.tokens == 0) return;
    if (rows_ != nullptr) {
      const auto blocks = static_cast<unsigned>(ceil_div(args.tokens * op_.heads, kRowsPerBlock));
      rows_->launch(stream, {blocks, static_cast<unsigned>(args.splits)}, kRowThreads, 0, args);
    } else {
      launch_tiles(stream, args);
    }
  }

 private:
  size_t partial_bytes(const PagedAttentionArgs& args) const {
    return static_cast<size_t>(args.sequences * op_.heads * (args.splits * (op_.value_dim + 2) + 1)) * sizeof(float);
  }

  bool is_alone(const PagedAttentionArgs& args) const {
    return alone_ != nullptr && args.tokens == 1 && args.sequences == 1;
  }
  // What partial_bytes() may have to go out of the way of in attend_alone().
  size_t room_for_turned() const {
    constexpr int64_t kGaps = 4;  // as much lies between them, at most
    return static_cast<size_t>(kGaps * (op_.heads + op_.kv_heads) * op_.head_dim * element_bytes_);
  }
  // Memory whose last reader is the rotary embedding may be the workspace: the first place there that is not `read`.
  bool place_parts(const std::vector<MemorySpan>& read, PagedAttentionArgs& args) const {
    constexpr size_t kAlignment = 16;
    size_t offset = 0;
    const auto* workspace = reinterpret_cast<const std::byte*>(args.partial);
    while (offset <= room_for_turned()) {
      const MemorySpan parts(workspace + offset, partial_bytes(args));
      const auto hit = std::find_if(read.begin(), read.end(), [&](const MemorySpan& s) { return s.overlaps(parts); });
      if (hit == read.end()) {
        args.partial += offset / sizeof(float);
        return true;
      }
      offset = (static_cast<size_t>(hit->end - workspace) + kAlignment - 1) / kAlignment * kAlignment;
    }
    return false;
  }

  // All of a step with one token and one sequence, if the kernel for that may do it.
  bool attend_alone(const RotaryLaunch& turned, const PagedAttentionArgs& args, CudaContext& context) const {
    if (!is_alone(args) || !gives(turned, args)) return false;
    PagedAttentionArgs attention = args;
    attention.counters = context.counters();
    std::vector<MemorySpan> read;
    for (const RotaryLaunch::One& one : turned.all())
      for (const MemorySpan& span : spans_of(one.args, args.tokens)) read.push_back(span);
    if (args.splits > 1 && !place_parts(read, attention)) return false;
    const MemorySpan result(args.y, static_cast<size_t>(op_.heads * op_.value_dim * element_bytes_));
    // Where the result takes the place of queries: that of a head comes when all who read its query are done.
    const RotaryArgs& queries = turned.all()[0].args;
    const bool by_head = queries.x == args.y && op_.value_dim == op_.head_dim;
    for (const MemorySpan& span : read)
      if (span.overlaps(result) && !(by_head && span.begin == result.begin)) return false;
    const PagedStoreArgs all{attention, queries, turned.all()[1].args, turned.late() ? 1 : 0};
    alone_->launch(context.stream(), decode_grid(args), static_cast<unsigned>(decode_tiling_.threads),
                   decode_tiling_.shared_bytes, all);
    return true;
  }

  CUstream store(std::unique_ptr<Deferred> before, const PagedAttentionArgs& args, unsigned rows,
                 CudaContext& context) const {
    PagedStoreArgs all{args, {}, {}, 0};
    if (before != nullptr) {
      const auto* turned = dynamic_cast<const RotaryLaunch*>(before.get());
      if (turned != nullptr && takes(*turned, args)) {
        all.queries = turned->all()[0].args;
        all.keys = turned->all()[1].args;
        turn_and_store_->launch(context.stream(), {rows, 3}, kStoreThreads, 0, all);
        return context.stream();
      }
      before->launch(context.stream());
    }
    store_->launch(context.stream(), {rows, 2}, kStoreThreads, 0, all);
    return context.stream();
  }

  static bool gives(const RotaryLaunch& turned, const PagedAttentionArgs& args) {
    return turned.all().size() == RotaryLaunch::kMost && turned.all()[0].args.y == args.q &&
           turned.all()[1].args.y == args.k;
  }
  // What turning reads: rows first, then angles.
  std::array<MemorySpan, 3> spans_of(const RotaryArgs& turned, int tokens) const {
    const auto angles = static_cast<size_t>(tokens * turned.half) * sizeof(float);
    return {MemorySpan(turned.x, static_cast<size_t>(turned.rows * turned.width * element_bytes_)),
            MemorySpan(turned.cos, angles), MemorySpan(turned.sin, angles)};
  }

  // Whether these are the queries and keys, and what the kernel clears is not what it reads.
  bool takes(const RotaryLaunch& turned, const PagedAttentionArgs& args) const {
    if (turn_and_store_ == nullptr || !gives(turned, args)) return false;
    const auto rows = static_cast<size_t>(args.sequences * op_.heads);
    const size_t sums = rows * static_cast<size_t>(args.splits * (op_.value_dim + 2));
    const MemorySpan result(args.y, static_cast<size_t>(args.tokens * op_.heads * op_.value_dim * element_bytes_)),
        arrived(args.partial + sums, args.splits > 1 ? rows * sizeof(float) : 0);
    const auto is_cleared = [&](const MemorySpan& read) {
      // Rows of the result that are cleared are of no sequence: at the same place, they lie behind all that count.
      const bool behind = read.begin == result.begin && op_.value_dim >= op_.head_dim;
      return read.overlaps(arrived) || (!behind && read.overlaps(result));
    };
    return std::none_of(turned.all().begin(), turned.all().end(), [&](const RotaryLaunch::One& one) {
      const auto spans = spans_of(one.args, args.tokens);
      return std::any_of(spans.begin(), spans.end(), is_cleared);
    });
  }

  void place(const StepIo& io, void* workspace, PagedAttentionArgs& args) const {
    const auto& in = io.inputs;
    const auto columns = [&](size_t i, int64_t offset) {
      return in[i].as<const std::byte>() + offset * element_bytes_;
    };
    const auto optional = [&](size_t i) { return i < in.size() && in[i].present ? in[i].data : nullptr; };
    args.q = columns(0, op_.q_offset);
    args.k = columns(1, op_.k_offset);
    args.v = columns(2, op_.v_offset);
    args.key_cache = in[3].data;
    args.value_cache = in[4].data;
    args.starts = in[5].as<const int>();
    args.contexts = in[6].as<const int>();
    args.table = in[7].as<const int>();
    args.prefixes = static_cast<const int*>(optional(8));
    args.slopes = static_cast<const float*>(optional(9));
    args.biases = static_cast<const float*>(optional(10));
    args.sinks = static_cast<const float*>(optional(12));
    const void* key_starts = optional(11);
    args.key_starts = key_starts == nullptr ? args.starts : static_cast<const int*>(key_starts);
    args.y = io.outputs[0].data;
    args.partial = static_cast<float*>(workspace);
  }

  Grid decode_grid(const PagedAttentionArgs& args) const {
    const int64_t rows = args.sequences * ceil_div(op_.heads / op_.kv_heads, decode_tiling_.rows);
    const auto at_a_time = std::min<int64_t>(args.splits, ceil_div(decode_blocks_, rows * op_.kv_heads));
    return {static_cast<unsigned>(rows), static_cast<unsigned>(op_.kv_heads), static_cast<unsigned>(at_a_time)};
  }

  void launch_tiles(CUstream stream, const PagedAttentionArgs& args) const {
    if (!uniform_)
      decode_->launch(stream, decode_grid(args), static_cast<unsigned>(decode_tiling_.threads),
                      decode_tiling_.shared_bytes, args);
    if (args.tokens == 1 && !uniform_) return;
    const int64_t rows = args.tokens * (op_.heads / op_.kv_heads);
    const auto blocks = static_cast<unsigned>(rows / chunk_tiling_.rows + args.sequences);
    chunk_->launch(stream, {blocks, static_cast<unsigned>(op_.kv_heads)}, static_cast<unsigned>(chunk_tiling_.threads),
                   chunk_tiling_.shared_bytes, args);
  }

  const lathe::PagedAttention& op_;
  const bool uniform_;
  const int64_t decode_blocks_;
  const int64_t element_bytes_;
  const PagedTiling decode_tiling_ = paged_decode_tiling(op_), chunk_tiling_ = paged_chunk_tiling(op_);
  const Kernel *store_, *turn_and_store_ = nullptr;
  const Kernel *decode_ = nullptr, *chunk_ = nullptr, *alone_ = nullptr;  // on tensor cores
  const Kernel* rows_ = nullptr;                                          // else
};

}  // namespace

Candidates lower(const lathe::PagedAttention& op, const Node& node, const Target& target) {
  const DType type = node.output()->dtype();
  if (type != DType::f32 && !is_half(type)) return {decline("paged_attention", "element type")};
  if (std::max(op.head_dim, op.value_dim) > kMaxHead)
    return {decline("paged_attention", "heads of more than 512 features")};
  return {accept_step<PagedAttentionStep>("paged_attention", op, node, target)};
}

}  // namespace lathe::cuda
