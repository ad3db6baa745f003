// Reductions, arg-reductions and running sums. Neighbouring axes that are all reduced, or all kept, count as one; what
// remains chooses the kernel: rows, columns, or the general one. When the results are too few to fill the chip, several
// blocks share each and a second launch merges their parts.
#include <algorithm>

#include "backends/cuda/kernels/reduce_args.h"
#include "backends/cuda/lower/lower.h"
#include "backends/cuda/lower/rows.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

constexpr int64_t kThreads = 256, kFinishThreads = 128;  // of the kernels
constexpr int64_t kWarp = 32, kWarps = 8;
constexpr int64_t kLongRow = 1024;  // elements for which a result gets a block, not a warp
constexpr int64_t kBlocksPerMultiprocessor = 4;
constexpr int64_t kLeastPerSplit = 4096;  // elements of a result below which sharing it costs more than it gains
constexpr int kArg = 10;                  // KIND of arg-reductions
constexpr size_t kStateBytes = 16;        // at most

bool computes_as_integer(DType type) { return is_integer(type) && !cuda_type(type).empty() && type != DType::boolean; }

std::string_view wide_of(DType type) {
  if (is_float(type)) return wide_type(type);
  return type == DType::u64 ? "u64" : "i64";
}

// The bounds of an integer type, as source text.
std::pair<std::string, std::string> bounds_of(DType type) {
  const int bits = bit_width(type);
  const bool is_signed = type == DType::i8 || type == DType::i16 || type == DType::i32 || type == DType::i64;
  const uint64_t high = (~uint64_t{0} >> (64 - bits)) >> (is_signed ? 1 : 0);
  return {is_signed ? fmt::format("(-{}ll-1)", high) : "0", fmt::format("{}ull", high)};
}

std::vector<std::string> type_defines(DType type) {
  std::vector<std::string> defines = {fmt::format("ELEMENT={}", cuda_type(type)), fmt::format("WIDE={}", wide_of(type)),
                                      fmt::format("INTEGER={}", is_float(type) ? 0 : 1)};
  if (is_float(type)) return defines;
  const auto [low, high] = bounds_of(type);
  defines.push_back("LOWEST=" + low);
  defines.push_back("HIGHEST=" + high);
  return defines;
}

// ---- which elements make a result ----

struct Run {
  int64_t size;
  bool reduced;
};

// The axes, those of size 1 left out, neighbours of a kind merged.
std::vector<Run> merge_runs(std::span<const int64_t> dims, const std::vector<int64_t>& axes) {
  std::vector<Run> runs;
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    const bool reduced = std::find(axes.begin(), axes.end(), static_cast<int64_t>(axis)) != axes.end();
    if (dims[axis] == 1) continue;
    if (!runs.empty() && runs.back().reduced == reduced)
      runs.back().size *= dims[axis];
    else
      runs.push_back({dims[axis], reduced});
  }
  return runs;
}

enum class Form { rows, columns, general };

struct ReduceState : StepState {
  ReduceArgs args{};
  const Kernel* kernel = nullptr;
  const Kernel* finish = nullptr;  // when results are shared
  unsigned blocks = 0, finish_blocks = 0;
  size_t workspace_bytes = 0;
};

Form describe(const std::vector<Run>& runs, ReduceArgs& args) {
  args.results = args.size = args.inner = 1;
  size_t reduced_runs = 0;
  for (const Run& run : runs) {
    (run.reduced ? args.size : args.results) *= run.size;
    reduced_runs += run.reduced ? 1 : 0;
  }
  args.count = args.size;
  if (reduced_runs > 1) {
    for (const bool reduced : {false, true}) {
      long long stride = 1;
      std::vector<std::pair<long long, long long>> axes;  // size and stride, innermost first
      for (size_t i = runs.size(); i-- > 0; stride *= runs[i].size)
        if (runs[i].reduced == reduced) axes.emplace_back(runs[i].size, stride);
      const size_t first = reduced ? static_cast<size_t>(args.kept_rank) : 0;
      for (size_t i = 0; i < axes.size(); ++i) {
        args.sizes[first + i] = axes[axes.size() - 1 - i].first;
        args.strides[first + i] = axes[axes.size() - 1 - i].second;
      }
      (reduced ? args.reduced_rank : args.kept_rank) = static_cast<int>(axes.size());
    }
    return Form::general;
  }
  // Without a reduced axis, every element is a column of one element.
  const bool last = !runs.empty() && runs.back().reduced;
  if (last || args.results == 1) return Form::rows;
  args.inner = runs.back().size;
  return Form::columns;
}

class ReduceStep : public Step {
 public:
  ReduceStep(std::vector<int64_t> axes, std::vector<std::string> defines, const Node& node, const Target& target)
      : axes_(std::move(axes)),
        defines_(std::move(defines)),
        vector_(pack_of(node.inputs()[0]->dtype())),
        chooses_(node.is<lathe::ArgReduce>()),
        target_(target) {}

  // The kernels that shapes of these symbolic sizes are likely to need.
  void request_likely(const Shape& shape) const {
    const bool last = std::find(axes_.begin(), axes_.end(), static_cast<int64_t>(shape.size()) - 1) != axes_.end();
    for (const int vector : {vector_, 1}) {
      request(last ? "reduce_row.cu" : "reduce_column.cu", vector, kWarp, false);
      if (last) request("reduce_row.cu", vector, kThreads, false);
    }
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<ReduceState>();
    ReduceArgs& args = state->args;
    const Form form = describe(merge_runs(io.inputs[0].dims, axes_), args);
    if (args.results == 0) return state;
    if (chooses_ && args.size == 0) fail(ErrorCode::invalid_argument, "there are no elements to choose from");
    args.splits = 1;
    if (form == Form::general) {
      state->kernel = &request("reduce_general.cu", 1, kWarp, false);
      state->blocks = static_cast<unsigned>(ceil_div(args.results, kThreads / kWarp));
    } else {
      plan(form, *state);
    }
    target_.kernels.build();
    return state;
  }

  size_t workspace_bytes(const StepIo& io) const override {
    return static_cast<const ReduceState&>(*prepare(io)).workspace_bytes;
  }

  void run(const StepIo& io, const StepState* prepared, void* workspace, DeviceContext& device) const override {
    const auto& state = *static_cast<const ReduceState*>(prepared);
    if (state.blocks == 0) return;
    ReduceArgs args = state.args;
    args.input = io.inputs[0].data;
    args.output = io.outputs[0].data;
    args.partial = workspace;
    const CUstream stream = stream_of(device);
    state.kernel->launch(stream, {state.blocks, static_cast<unsigned>(args.splits)}, kThreads, 0, args);
    if (state.finish != nullptr) state.finish->launch(stream, {state.finish_blocks}, kFinishThreads, 0, args);
  }

 private:
  const Kernel& request(const char* file, int vector, int64_t group, bool split) const {
    std::vector<std::string> defines = defines_;
    defines.push_back(fmt::format("VECTOR={}", vector));
    defines.push_back(fmt::format("GROUP={}", group));
    defines.push_back(fmt::format("SPLIT={}", split ? 1 : 0));
    return target_.kernels.request({file, "reduce", std::move(defines), {}});
  }

  void plan(Form form, ReduceState& state) const {
    ReduceArgs& args = state.args;
    const bool rows = form == Form::rows;
    const int vector = (rows ? args.size : args.inner) % vector_ == 0 ? vector_ : 1;
    const int64_t group = args.size >= kLongRow ? kThreads : kWarp;
    const int64_t blocks = rows ? ceil_div(args.results, kThreads / group)
                                : args.results / args.inner * ceil_div(args.inner, kWarp * vector);
    const int64_t wanted = target_.device.multiprocessors * kBlocksPerMultiprocessor;
    const int64_t least = rows ? kLeastPerSplit : kLeastPerSplit / (kWarps * 4);
    if (blocks * 2 <= wanted)
      args.splits = static_cast<int>(std::clamp<int64_t>(args.size / least, 1, wanted / blocks));
    args.per_split = ceil_div(ceil_div(args.size, args.splits), vector) * vector;
    if (args.per_split > 0) args.splits = static_cast<int>(ceil_div(args.size, args.per_split));
    const bool split = args.splits > 1;
    state.kernel = &request(rows ? "reduce_row.cu" : "reduce_column.cu", vector, rows ? group : kWarp, split);
    state.blocks = static_cast<unsigned>(blocks);
    if (!split) return;
    state.finish = &request("reduce_finish.cu", 1, kWarp, true);
    state.finish_blocks = static_cast<unsigned>(ceil_div(args.results, kFinishThreads));
    state.workspace_bytes = static_cast<size_t>(args.splits * args.results) * kStateBytes;
  }

  std::vector<int64_t> axes_;
  std::vector<std::string> defines_;
  int vector_;
  bool chooses_;  // an element: there must be one
  const Target& target_;
};

// ---- running sums ----

struct ScanState : StepState {
  ScanArgs args{};
  unsigned blocks = 0;
};

class ScanStep : public Step {
 public:
  ScanStep(const lathe::Cumulative& op, const Node& node, const Target& target) : axis_(static_cast<size_t>(op.axis)) {
    const auto flag = [](bool value) { return value ? 1 : 0; };
    std::vector<std::string> defines = type_defines(node.output()->dtype());
    defines.push_back(fmt::format("PRODUCT={}", flag(op.kind == CumulativeKind::prod)));
    defines.push_back(fmt::format("EXCLUSIVE={}", flag(op.exclusive)));
    defines.push_back(fmt::format("REVERSE={}", flag(op.reverse)));
    rows_ = axis_ + 1 == node.output()->shape().size();
    defines.push_back(fmt::format("INNER={}", flag(!rows_)));
    kernel_ = &target.kernels.request({"scan.cu", "scan", std::move(defines), {}});
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<ScanState>();
    ScanArgs& args = state->args;
    const auto dims = io.outputs[0].dims;
    args.outer = args.inner = 1;
    for (size_t i = 0; i < axis_; ++i) args.outer *= dims[i];
    args.size = dims[axis_];
    for (size_t i = axis_ + 1; i < dims.size(); ++i) args.inner *= dims[i];
    if (args.outer * args.size * args.inner == 0) return state;
    state->blocks = static_cast<unsigned>(rows_ ? args.outer : ceil_div(args.outer * args.inner, kThreads));
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const ScanState*>(prepared);
    if (state.blocks == 0) return;
    ScanArgs args = state.args;
    args.input = io.inputs[0].data;
    args.output = io.outputs[0].data;
    kernel_->launch(stream_of(device), {state.blocks}, kThreads, 0, args);
  }

 private:
  size_t axis_;
  bool rows_ = false;  // along the last axis
  const Kernel* kernel_ = nullptr;
};

bool computes_with(DType type) { return computes_as_float(type) || computes_as_integer(type); }

Candidate reduction(std::string name, std::vector<int64_t> axes, std::vector<std::string> defines, const Node& node,
                    const Target& target) {
  return accept(std::move(name), [axes = std::move(axes), defines = std::move(defines), &node, &target] {
    auto step = std::make_unique<ReduceStep>(axes, defines, node, target);
    step->request_likely(node.inputs()[0]->shape());
    return Lowered{std::move(step), {}};
  });
}

}  // namespace

Candidates lower(const lathe::Reduce& op, const Node& node, const Target& target) {
  const DType type = node.inputs()[0]->dtype();
  if (!computes_with(type)) return {decline("reduce", "element type")};
  if (node.inputs()[0]->shape().size() > kReduceMaxRank) return {decline("reduce", "rank above 8")};
  std::vector<std::string> defines = type_defines(type);
  defines.push_back(fmt::format("KIND={}", static_cast<int>(op.kind)));
  defines.push_back(fmt::format("OUT={}", cuda_type(type)));
  return {reduction("reduce", op.axes, std::move(defines), node, target)};
}

Candidates lower(const lathe::ArgReduce& op, const Node& node, const Target& target) {
  const DType type = node.inputs()[0]->dtype();
  if (!computes_with(type)) return {decline("arg_reduce", "element type")};
  if (node.inputs()[0]->shape().size() > kReduceMaxRank) return {decline("arg_reduce", "rank above 8")};
  std::vector<std::string> defines = type_defines(type);
  defines.push_back(fmt::format("KIND={}", kArg));
  defines.emplace_back("OUT=i64");
  defines.push_back(fmt::format("LARGEST={}", op.largest ? 1 : 0));
  defines.push_back(fmt::format("LAST={}", op.select_last ? 1 : 0));
  return {reduction("arg_reduce", {op.axis}, std::move(defines), node, target)};
}

Candidates lower(const lathe::Cumulative& op, const Node& node, const Target& target) {
  if (!computes_with(node.output()->dtype())) return {decline("scan", "element type")};
  return {accept_step<ScanStep>("scan", op, node, target)};
}

}  // namespace lathe::cuda
