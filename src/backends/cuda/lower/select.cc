// Ops whose result depends on comparing elements: top_k, non_zero, pack_tokens, nms. non_zero and nms learn the size of
// their result from the device, so they wait for it and cannot be recorded.
#include "backends/cuda/kernels/select_args.h"

#include <bit>

#include "backends/cuda/lower/movement.h"
#include "backends/cuda/program_code.h"
#include "base/error.h"

namespace lathe::cuda {
namespace {

std::string type_define(DType type) { return fmt::format("TYPE={}", cuda_type(type)); }

std::string why_not_comparable(DType type) {
  return cuda_type(type).empty() ? fmt::format("CUDA kernels do not compute with {}", to_string(type)) : "";
}

// Cuts a step's workspace into parts. Run twice: with null to learn the size, then for real.
class Workspace {
 public:
  explicit Workspace(void* memory = nullptr) : memory_(static_cast<std::byte*>(memory)) {}

  template <class T>
  T* take(int64_t count) {
    std::byte* part = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += (static_cast<size_t>(count) * sizeof(T) + 255) / 256 * 256;
    return reinterpret_cast<T*>(part);
  }
  size_t used() const { return used_; }

 private:
  std::byte* memory_;
  size_t used_ = 0;
};

// Device memory for one run of a step that sizes its own result: such steps are neither prepared nor given a workspace.
class Scratch {
 public:
  Scratch(DeviceContext& device, size_t bytes)
      : device_(device), memory_(device.allocate(std::max<size_t>(bytes, 1))) {}
  ~Scratch() { device_.release(memory_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* memory() const { return memory_; }

 private:
  DeviceContext& device_;
  void* memory_;
};

// Turns counts into the sums of those before, and waits for the sum of all.
int64_t sum_up(const Kernel& scan, unsigned long long* counts, int64_t n, DeviceContext& device) {
  scan.launch(stream_of(device), {1}, kScanThreads, 0, ScanArgs{counts, static_cast<unsigned long long>(n)});
  uint64_t total = 0;
  device.download(std::as_writable_bytes(std::span(&total, 1)), counts + n);
  return static_cast<int64_t>(total);
}

// ---- top_k ----

constexpr size_t kMaxSharedPairs = 32 << 10;  // bytes; beside the histogram, within what every block may use

struct TopKState : StepState {
  TopKArgs args{};
  unsigned rows = 0, threads = 0;
  size_t shared_bytes = 0;
};

class TopKStep : public Step {
 public:
  TopKStep(const lathe::TopK& op, const Node& node, const Target& target)
      : k_(op.k),
        largest_(op.largest),
        axis_(static_cast<size_t>(op.axis < 0 ? op.axis + node.input(0)->type().rank() : op.axis)),
        kernel_(target.kernels.request({"top_k.cu", "top_k", {type_define(node.input(0)->dtype())}, {}})) {}

  size_t workspace_bytes(const StepIo& io) const override {
    const TopKState state = plan(io);
    return state.args.in_shared ? 0 : state.rows * pair_bytes(io) * state.args.padded;
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override { return std::make_unique<TopKState>(plan(io)); }

  void run(const StepIo& io, const StepState* prepared, void* workspace, DeviceContext& device) const override {
    const auto& state = *static_cast<const TopKState*>(prepared);
    if (state.rows == 0 || state.args.k == 0) return;
    TopKArgs args = state.args;
    args.x = io.inputs[0].data;
    args.values = io.outputs[0].data;
    args.indices = static_cast<long long*>(io.outputs[1].data);
    args.keys = workspace;
    kernel_.launch(stream_of(device), {state.rows}, state.threads, state.shared_bytes, args);
  }

 private:
  static size_t pair_bytes(const StepIo& io) { return element_bytes(io.inputs[0].dtype) > 4 ? 12 : 8; }

  TopKState plan(const StepIo& io) const {
    const TensorRef& x = io.inputs[0];
    const int64_t n = x.dims[axis_], k = io.symbols->evaluate(k_);
    if (k < 0 || k > n) fail(ErrorCode::invalid_argument, "k = {} of {} elements along axis {}", k, n, axis_);
    if (n >= int64_t{1} << 31) fail(ErrorCode::unsupported, "top_k of {} elements on a GPU", n);
    TopKState state;
    TopKArgs& args = state.args;
    args.inner = product(x.dims.subspan(axis_ + 1));
    args.n = static_cast<unsigned>(n);
    args.k = static_cast<unsigned>(k);
    args.kept = n <= kTopKSortAll ? args.n : args.k;
    args.padded = std::bit_ceil(args.kept);
    args.largest = largest_;
    args.in_shared = args.padded * pair_bytes(io) <= kMaxSharedPairs;
    state.rows = static_cast<unsigned>(product(x.dims.first(axis_)) * args.inner);
    state.threads = std::clamp<unsigned>(args.kept == args.n ? args.padded / 2 : kTopKThreads, 32, kTopKThreads);
    state.shared_bytes = args.in_shared ? args.padded * pair_bytes(io) : 0;
    return state;
  }

  Dim k_;
  bool largest_;
  size_t axis_;
  const Kernel& kernel_;
};

// ---- non_zero ----

class NonZeroStep : public Step {
 public:
  NonZeroStep(const Node& node, const Target& target)
      : kernel_(target.kernels, "non_zero", {type_define(node.input(0)->dtype())}),
        scan_(target.kernels.request({"scan_counts.cu", "scan_counts", {}, {}})) {}

  bool recordable() const override { return false; }
  void run(const StepIo& io, const StepState*, void*, DeviceContext& device) const override {
    const Kernel* kernel = kernel_.for_elements(io.inputs[0].elements());
    const Scratch scratch(device, static_cast<size_t>(blocks(io) + 1) * sizeof(uint64_t));
    NonZeroArgs args{};
    args.n = static_cast<unsigned long long>(io.inputs[0].elements());
    for (const int64_t dim : io.inputs[0].dims) args.sizes[args.rank++] = divisor(dim);
    args.x = io.inputs[0].data;
    args.counts = static_cast<unsigned long long*>(scratch.memory());
    const auto grid = static_cast<unsigned>(blocks(io));
    if (grid > 0) {
      kernel->launch(stream_of(device), {grid}, kCountThreads, 0, args);
      args.total = static_cast<unsigned long long>(sum_up(scan_, args.counts, grid, device));
    }
    const int64_t dims[] = {args.rank, static_cast<int64_t>(args.total)};
    args.positions = static_cast<long long*>(io.allocator->allocate(0, DType::i64, dims));
    if (args.total > 0) kernel->launch(stream_of(device), {grid}, kCountThreads, 0, args);
  }

 private:
  static int64_t blocks(const StepIo& io) { return ceil_div(io.inputs[0].elements(), kCountThreads * kCountRounds); }

  MoveKernel kernel_;
  const Kernel& scan_;
};

// ---- pack_tokens ----

class PackTokensStep : public Step {
 public:
  PackTokensStep(const lathe::PackTokens& op, const Node& node, const Target& target)
      : op_(op),
        kernel_(target.kernels.request({"pack_tokens.cu", "pack_tokens", {type_define(node.input(0)->dtype())}, {}})) {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    if (const auto& dims = io.inputs[0].dims; dims[0] * dims[1] > INT32_MAX)
      fail(ErrorCode::unsupported, "a batch of {} x {} tokens", dims[0], dims[1]);
    return nullptr;
  }

  void run(const StepIo& io, const StepState*, void*, DeviceContext& device) const override {
    const auto size = [](int64_t x) { return static_cast<int>(x); };
    const PackTokensArgs args{io.inputs[0].data,
                              io.outputs[0].as<int>(),
                              io.outputs[1].as<int>(),
                              io.outputs[2].as<int>(),
                              size(io.inputs[0].dims[0]),
                              size(io.inputs[0].dims[1]),
                              size(io.outputs[0].elements()),
                              size(op_.kept),
                              op_.keep_first};
    kernel_.launch(stream_of(device), {1}, kPackThreads, 0, args);
  }

 private:
  lathe::PackTokens op_;
  const Kernel& kernel_;
};

// ---- nms ----

struct NmsState {
  NmsArgs args{};
  unsigned blocks = 0;
};

class NmsStep : public Step {
 public:
  NmsStep(const lathe::Nms& op, const Node& node, const Target& target)
      : op_(op),
        kernel_(target.kernels.request({"nms.cu", "nms", {type_define(node.input(0)->dtype())}, {}})),
        scan_(target.kernels.request({"scan_counts.cu", "scan_counts", {}, {}})) {}

  bool recordable() const override { return false; }
  void run(const StepIo& io, const StepState*, void*, DeviceContext& device) const override {
    NmsState state = plan(io);
    Workspace sizing;
    place(sizing, state);
    const Scratch scratch(device, sizing.used());
    Workspace workspace(scratch.memory());
    place(workspace, state);
    NmsArgs& args = state.args;
    args.boxes = io.inputs[0].data;
    args.scores = io.inputs[1].data;
    int64_t total = 0;
    if (state.blocks > 0 && args.limit > 0) {
      kernel_.launch(stream_of(device), {state.blocks}, kNmsThreads, 0, args);
      total = sum_up(scan_, args.counts, state.blocks, device);
    }
    const int64_t dims[] = {total, 3};
    args.result = static_cast<long long*>(io.allocator->allocate(0, DType::i64, dims));
    if (total > 0) kernel_.launch(stream_of(device), {state.blocks}, kNmsThreads, 0, args);
  }

 private:
  static void place(Workspace& workspace, NmsState& state) {
    NmsArgs& args = state.args;
    const int64_t blocks = state.blocks, padded = args.padded;
    args.counts = workspace.take<unsigned long long>(blocks + 1);
    args.keys = workspace.take<unsigned long long>(blocks * padded);
    args.order = workspace.take<unsigned>(blocks * padded);
    args.removed = workspace.take<unsigned>(blocks * ceil_div(args.n, 32));
    args.selected = workspace.take<unsigned>(blocks * args.limit);
  }

  NmsState plan(const StepIo& io) const {
    const auto &boxes = io.inputs[0].dims, &scores = io.inputs[1].dims;
    if (boxes[2] != 4 || boxes[0] != scores[0] || boxes[1] != scores[2])
      fail(ErrorCode::invalid_argument, "boxes of shape {} and scores of shape {} do not fit", to_string(boxes),
           to_string(scores));
    if (boxes[1] >= int64_t{1} << 30) fail(ErrorCode::unsupported, "nms of {} boxes on a GPU", boxes[1]);
    NmsState state;
    NmsArgs& args = state.args;
    args.n = static_cast<unsigned>(boxes[1]);
    args.padded = std::bit_ceil(args.n);
    args.limit = static_cast<unsigned>(std::clamp<int64_t>(io.symbols->evaluate(op_.max_per_class), 0, boxes[1]));
    args.classes = static_cast<unsigned>(scores[1]);
    args.center_point = op_.center_point;
    args.has_threshold = op_.score_threshold.has_value();
    args.iou_threshold = op_.iou_threshold;
    args.score_threshold = op_.score_threshold.value_or(0);
    state.blocks = static_cast<unsigned>(scores[0] * scores[1]);
    return state;
  }

  lathe::Nms op_;
  const Kernel &kernel_, &scan_;
};

}  // namespace

Candidates lower(const lathe::TopK& op, const Node& node, const Target& target) {
  if (std::string why = why_not_comparable(node.input(0)->dtype()); !why.empty())
    return {decline("top_k", std::move(why))};
  return {accept_step<TopKStep>("top_k", op, node, target)};
}

Candidates lower(const lathe::NonZero&, const Node& node, const Target& target) {
  std::string why = why_not_comparable(node.input(0)->dtype());
  if (why.empty() && node.input(0)->type().rank() > kMoveMaxRank) why = "more than 8 axes";
  if (!why.empty()) return {decline("non_zero", std::move(why))};
  return {accept("non_zero", [&node, &target] { return Lowered{std::make_unique<NonZeroStep>(node, target), {}}; })};
}

Candidates lower(const lathe::PackTokens& op, const Node& node, const Target& target) {
  // Only of an input of the model does the executor count the tokens before the run.
  if (node.input(0)->producer() != nullptr) return {decline("pack_tokens", "the mask is computed by the model")};
  return {accept_step<PackTokensStep>("pack_tokens", op, node, target)};
}

Candidates lower(const lathe::Nms& op, const Node& node, const Target& target) {
  const DType type = node.input(0)->dtype();
  std::string why = why_not_comparable(type);
  if (why.empty() && type != node.input(1)->dtype()) why = "boxes and scores are of different types";
  if (!why.empty()) return {decline("nms", std::move(why))};
  return {accept_step<NmsStep>("nms", op, node, target)};
}

}  // namespace lathe::cuda
