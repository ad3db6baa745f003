// Data movement that depends on sizes only. Slices, and transposes that keep the innermost axis, are copies from a
// strided box; other transposes go through tiles, or, where a tile would be mostly idle, through registers.
#include "backends/cuda/lower/movement.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::cuda {
namespace {

// ---- transpose ----

constexpr int64_t kWarp = 32;
constexpr int64_t kLeastTiledSize = 8;  // with less than this along an axis, most of a tile would be idle
constexpr int64_t kPackBytes = 16, kMaxNarrowBytes = 8;

struct TransposeState : StepState {
  std::unique_ptr<MoveState<CopyArgs>> copy;  // set when no tiles are used
  TransposeArgs packed{}, plain{}, narrow{};
  bool packs = false;
};

class TransposeStep : public Step {
 public:
  TransposeStep(const lathe::Transpose& op, const Node& node, const Target& target)
      : permutation_(op.perm), bytes_(element_bytes(node.output()->dtype())), copy_(target.kernels, "copy") {
    const auto tiled = [&](int64_t pack) {
      return &target.kernels.request({"transpose.cu",
                                      "transpose",
                                      {fmt::format("ELEMENT={}", bytes_), fmt::format("PACK={}", pack), "INDEX=u32"},
                                      {}});
    };
    const bool keeps_last = permutation_.empty() || permutation_.back() + 1 == node.output()->type().rank();
    if (keeps_last) return;
    const Dim& last = node.output()->shape().back();
    if (last.is_constant() && last.value() > 1 && last.value() < kLeastTiledSize && bytes_ <= kMaxNarrowBytes) {
      narrow_rows_ = last.value();
      narrow_ = &target.kernels.request({"transpose_narrow.cu",
                                         "transpose_narrow",
                                         {fmt::format("TYPE=u{}", bytes_ * 8), fmt::format("ROWS={}", last.value()),
                                          fmt::format("VECTOR={}", vector()), "INDEX=u32"},
                                         {}});
    }
    plain_ = tiled(1);
    if (pack() > 1) packed_ = tiled(pack());
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<TransposeState>();
    const std::vector<int64_t> strides = dense_strides(io.inputs[0].dims);
    std::vector<WalkAxis> axes;
    for (const int64_t p : permutation_)
      axes.push_back({io.inputs[0].dims[static_cast<size_t>(p)], strides[static_cast<size_t>(p)]});
    axes = merge_walk(axes);
    const auto columns = std::find_if(axes.begin(), axes.end(), [](const WalkAxis& a) { return a.stride == 1; });
    const bool tiles = plain_ != nullptr && columns != axes.end() && columns + 1 != axes.end() &&
                       std::min(columns->size, axes.back().size) >= kLeastTiledSize;
    if (!tiles) {
      if (narrow_ != nullptr && columns != axes.end() && columns + 1 != axes.end())
        state->narrow = narrow_args(axes, static_cast<size_t>(columns - axes.begin()));
      state->copy = copy_state(axes, 0, bytes_);
      state->copy->kernel = copy_.for_elements(io.outputs[0].elements());
      return state;
    }
    const auto column_axis = static_cast<size_t>(columns - axes.begin());
    state->packs = packed_ != nullptr && columns->size % pack() == 0 && axes.back().size % pack() == 0;
    state->plain = tile_args(axes, column_axis, kWarp);
    if (state->packs) state->packed = tile_args(axes, column_axis, kWarp * pack());
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const TransposeState*>(prepared);
    const void* x = io.inputs[0].data;
    void* y = io.outputs[0].data;
    if (state.narrow.tiles > 0 && is_aligned(x, kPackBytes) && is_aligned(y, kPackBytes)) {
      TransposeArgs args = state.narrow;
      args.x = x;
      args.y = y;
      const auto blocks = static_cast<unsigned>(ceil_div(static_cast<int64_t>(args.tiles), kMoveThreads));
      return narrow_->launch(stream_of(device), {blocks}, kMoveThreads, 0, args);
    }
    if (state.copy != nullptr) return launch_moves(*state.copy, x, y, nullptr, device);
    const bool packs = state.packs && is_aligned(x, 4) && is_aligned(y, 4);
    TransposeArgs args = packs ? state.packed : state.plain;
    args.x = x;
    args.y = y;
    if (args.tiles == 0) return;
    const Kernel& kernel = packs ? *packed_ : *plain_;
    kernel.launch(stream_of(device), {static_cast<unsigned>(args.tiles)}, kMoveThreads, 0, args);
  }

 private:
  int64_t pack() const { return std::max<int64_t>(4 / bytes_, 1); }  // elements to a word

  int64_t vector() const { return kPackBytes / bytes_; }  // elements to a pack

  // Of the narrow kernel: its tiles are packs of columns. There are none where packs would not be aligned.
  TransposeArgs narrow_args(const std::vector<WalkAxis>& axes, size_t column_axis) const {
    constexpr int64_t kMaxTiles = int64_t{1} << 31;
    TransposeArgs args = tile_args(axes, column_axis, 1);
    const auto packs = [&](long long stride) { return stride % vector() == 0; };
    const int64_t columns = axes[column_axis].size;
    bool fits = axes.back().size == narrow_rows_ && args.column_stride == args.rows && packs(columns) &&
                packs(axes.back().stride);
    for (int axis = 0; axis < args.rank; ++axis)
      fits = fits && packs(args.x_strides[axis]) && packs(args.y_strides[axis]);
    const int64_t tiles = static_cast<int64_t>(args.tiles) / std::max<int64_t>(axes.back().size, 1) / vector();
    if (!fits || tiles >= kMaxTiles) return {};
    args.column_tiles = divisor(columns / vector());
    args.tiles = static_cast<unsigned long long>(tiles);
    return args;
  }

  // `axes`: of y, walking x.
  static TransposeArgs tile_args(const std::vector<WalkAxis>& axes, size_t column_axis, int64_t tile) {
    TransposeArgs args{};
    std::vector<int64_t> sizes;
    for (const WalkAxis& axis : axes) sizes.push_back(axis.size);
    const std::vector<int64_t> y_strides = dense_strides(sizes);
    const WalkAxis &rows = axes.back(), &columns = axes[column_axis];
    const int64_t row_tiles = ceil_div(rows.size, tile), column_tiles = ceil_div(columns.size, tile);
    args.rows = static_cast<unsigned long long>(rows.size);
    args.columns = static_cast<unsigned long long>(columns.size);
    args.row_stride = static_cast<unsigned long long>(rows.stride);
    args.column_stride = static_cast<unsigned long long>(y_strides[column_axis]);
    args.row_tiles = divisor(row_tiles);
    args.column_tiles = divisor(column_tiles);
    int64_t tiles = row_tiles * column_tiles;
    for (size_t axis = 0; axis + 1 < axes.size(); ++axis) {
      if (axis == column_axis) continue;
      args.sizes[args.rank] = divisor(axes[axis].size);
      args.x_strides[args.rank] = axes[axis].stride;
      args.y_strides[args.rank] = y_strides[axis];
      ++args.rank;
      tiles *= axes[axis].size;
    }
    args.tiles = static_cast<unsigned long long>(tiles);
    return args;
  }

  std::vector<int64_t> permutation_;
  int64_t bytes_;
  MoveKernel copy_;
  const Kernel *plain_ = nullptr, *packed_ = nullptr, *narrow_ = nullptr;
  int64_t narrow_rows_ = 0;
};

// ---- slice ----

struct SliceState : StepState {
  std::unique_ptr<MoveState<CopyArgs>> copy;
  int64_t offset_bytes = 0;
};

class SliceStep : public Step {
 public:
  SliceStep(const lathe::Slice& op, const Node&, const Target& target) : op_(op), copy_(target.kernels, "copy") {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    const auto &dims = io.inputs[0].dims, &sizes = io.outputs[0].dims;
    const bool empty = io.outputs[0].elements() == 0;
    std::vector<int64_t> strides = dense_strides(dims);
    int64_t offset = 0;
    for (size_t i = 0; i < op_.axes.size(); ++i) {
      const auto axis = static_cast<size_t>(op_.axes[i]);
      const int64_t first = io.symbols->evaluate(op_.starts[i]), last = first + (sizes[axis] - 1) * op_.steps[i];
      if (!empty && (std::min(first, last) < 0 || std::max(first, last) >= dims[axis]))
        fail(ErrorCode::invalid_argument, "a slice of elements {} to {} of axis {}, which has {}", first, last, axis,
             dims[axis]);
      offset += empty ? 0 : first * strides[axis];
      strides[axis] *= op_.steps[i];
    }
    std::vector<WalkAxis> axes;
    for (size_t axis = 0; axis < sizes.size(); ++axis) axes.push_back({sizes[axis], strides[axis]});
    const int64_t bytes = element_bytes(io.inputs[0].dtype);
    auto state = std::make_unique<SliceState>();
    state->copy = copy_state(axes, offset, bytes);
    state->copy->kernel = copy_.for_elements(io.inputs[0].elements());
    state->offset_bytes = offset * bytes;
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const SliceState*>(prepared);
    launch_moves(*state.copy, io.inputs[0].as<std::byte>() + state.offset_bytes, io.outputs[0].data, nullptr, device);
  }

 private:
  lathe::Slice op_;
  MoveKernel copy_;
};

// ---- concat ----

struct ConcatState : StepState {
  std::vector<ConcatArgs> wide, narrow;  // one per launch
  const Kernel* kernel = nullptr;
};

class ConcatStep : public Step {
 public:
  ConcatStep(const lathe::Concat& op, const Node&, const Target& target)
      : axis_(static_cast<size_t>(op.axis)), kernel_(target.kernels, "concat") {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<ConcatState>();
    const int64_t bytes = element_bytes(io.outputs[0].dtype);
    int unit = 16;
    for (const TensorRef& input : io.inputs) unit = std::min(unit, widest_unit({piece(input) * bytes}));
    state->wide = launches(io, bytes, unit);
    state->narrow = launches(io, bytes, static_cast<int>(bytes));
    state->kernel = kernel_.for_elements(io.outputs[0].elements());
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const ConcatState*>(prepared);
    auto* y = io.outputs[0].as<std::byte>();
    const int unit = state.wide[0].unit;
    bool aligned = is_aligned(y, unit);
    for (const TensorRef& input : io.inputs) aligned = aligned && is_aligned(input.data, unit);
    size_t next = 0;
    for (ConcatArgs args : aligned ? state.wide : state.narrow) {
      for (int i = 0; i < args.count; ++i) args.inputs[i] = io.inputs[next++].data;
      args.y = y;
      launch_moves(*state.kernel, args, device);
      y += static_cast<int64_t>(args.row.value) * args.unit;
    }
  }

 private:
  // Elements of an input that lie side by side in a row of the result.
  int64_t piece(const TensorRef& input) const { return product(input.dims.subspan(axis_)); }

  std::vector<ConcatArgs> launches(const StepIo& io, int64_t bytes, int unit) const {
    std::vector<ConcatArgs> result;
    const int64_t rows = product(io.outputs[0].dims.first(axis_));
    for (size_t first = 0; first < io.inputs.size(); first += kConcatMaxInputs) {
      ConcatArgs& args = result.emplace_back();
      const auto inputs = io.inputs.subspan(first, std::min<size_t>(kConcatMaxInputs, io.inputs.size() - first));
      int64_t row = 0;
      for (const TensorRef& input : inputs) {
        row += piece(input) * bytes / unit;
        args.starts[++args.count] = static_cast<unsigned long long>(row);
      }
      args.unit = unit;
      args.row = divisor(row);
      args.pitch = static_cast<unsigned long long>(piece(io.outputs[0]) * bytes / unit);
      args.total = static_cast<unsigned long long>(rows) * static_cast<unsigned long long>(row);
    }
    return result;
  }

  size_t axis_;
  MoveKernel kernel_;
};

// ---- pad ----

PadKind kernel_kind(lathe::PadMode mode) {
  switch (mode) {
    case lathe::PadMode::reflect: return PadKind::reflect;
    case lathe::PadMode::edge: return PadKind::edge;
    case lathe::PadMode::wrap: return PadKind::wrap;
    case lathe::PadMode::constant: break;
  }
  return PadKind::constant;
}

struct PadAxis {
  int64_t size, limit, begin;  // of y, of x, elements before x
  bool padded() const { return begin != 0 || size != limit; }
};

class PadStep : public Step {
 public:
  PadStep(const lathe::Pad& op, const Node&, const Target& target) : op_(op), kernel_(target.kernels, "pad") {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    const TensorRef &x = io.inputs[0], &y = io.outputs[0];
    const std::vector<int64_t> begins = io.symbols->evaluate(op_.begins);
    if (op_.mode != lathe::PadMode::constant && x.elements() == 0 && y.elements() > 0)
      fail(ErrorCode::invalid_argument, "an axis of 0 elements has nothing to pad with");
    std::vector<PadAxis> axes;
    for (size_t axis = 0; axis < x.dims.size(); ++axis) append(axes, {y.dims[axis], x.dims[axis], begins[axis]});
    if (axes.empty()) axes.push_back({1, 1, 0});
    const PadAxis& last = axes.back();
    const int64_t bytes = element_bytes(x.dtype);
    const bool widens = op_.mode == lathe::PadMode::constant || !last.padded();
    const int unit =
        widens ? widest_unit({last.size * bytes, last.limit * bytes, last.begin * bytes}) : static_cast<int>(bytes);
    auto state = std::make_unique<MoveState<PadArgs>>();
    state->wide = pad_args(axes, bytes, unit);
    state->narrow = pad_args(axes, bytes, static_cast<int>(bytes));
    state->kernel = kernel_.for_elements(std::max(x.elements(), y.elements()));
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const MoveState<PadArgs>*>(prepared);
    const void* fill = io.inputs.size() > 1 && io.inputs[1].present ? io.inputs[1].data : nullptr;
    launch_moves(state, io.inputs[0].data, io.outputs[0].data, fill, device);
  }

 private:
  // An axis that is not padded joins the one before it; but if that one is padded, only when all padding is alike.
  void append(std::vector<PadAxis>& axes, const PadAxis& axis) const {
    const bool joins =
        !axes.empty() && !axis.padded() && (op_.mode == lathe::PadMode::constant || !axes.back().padded());
    if (!joins) return axes.push_back(axis);
    PadAxis& before = axes.back();
    before = {before.size * axis.size, before.limit * axis.size, before.begin * axis.size};
  }

  PadArgs pad_args(const std::vector<PadAxis>& axes, int64_t bytes, int unit) const {
    PadArgs args{};
    args.unit = unit;
    args.rank = static_cast<int>(axes.size());
    args.element_bytes = static_cast<int>(bytes);
    args.kind = kernel_kind(op_.mode);
    args.total = 1;
    int64_t stride = 1;
    for (size_t axis = axes.size(); axis-- > 0;) {
      const int64_t per_unit = axis + 1 == axes.size() ? unit / bytes : 1;
      const int64_t size = axes[axis].size / per_unit;
      args.total *= static_cast<unsigned long long>(size);
      args.sizes[axis] = divisor(size);
      args.limits[axis] = axes[axis].limit / per_unit;
      args.begins[axis] = axes[axis].begin / per_unit;
      args.strides[axis] = stride;
      stride *= args.limits[axis];
    }
    return args;
  }

  lathe::Pad op_;
  MoveKernel kernel_;
};

// ---- reverse sequence ----

class ReverseSequenceStep : public Step {
 public:
  ReverseSequenceStep(const lathe::ReverseSequence& op, const Node&, const Target& target)
      : time_axis_(static_cast<size_t>(op.time_axis)),
        batch_axis_(static_cast<size_t>(op.batch_axis)),
        kernel_(target.kernels, "reverse_sequence") {}

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    const TensorRef& x = io.inputs[0];
    const int64_t bytes = element_bytes(x.dtype);
    const std::vector<int64_t> strides = dense_strides(x.dims);
    const auto args_for = [&](int unit) {
      ReverseSequenceArgs args{};
      args.unit = unit;
      args.wide_lengths = io.inputs[1].dtype == DType::i64;
      args.total = static_cast<unsigned long long>(x.elements() * bytes / unit);
      args.time_stride = divisor(strides[time_axis_] * bytes / unit);
      args.batch_stride = divisor(strides[batch_axis_] * bytes / unit);
      args.times = divisor(x.dims[time_axis_]);
      args.batches = divisor(x.dims[batch_axis_]);
      return args;
    };
    auto state = std::make_unique<MoveState<ReverseSequenceArgs>>();
    state->wide = args_for(widest_unit({strides[time_axis_] * bytes, strides[batch_axis_] * bytes}));
    state->narrow = args_for(static_cast<int>(bytes));
    state->kernel = kernel_.for_elements(x.elements());
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void*, DeviceContext& device) const override {
    const auto& state = *static_cast<const MoveState<ReverseSequenceArgs>*>(prepared);
    launch_moves(state, io.inputs[0].data, io.outputs[0].data, io.inputs[1].data, device);
  }

 private:
  size_t time_axis_, batch_axis_;
  MoveKernel kernel_;
};

// The one candidate that each of these ops has.
template <class S, class OpT>
Candidates moves(std::string kernel, const OpT& op, const Node& node, const Target& target) {
  if (std::string why = why_not_movable(node.output()->dtype()); !why.empty())
    return {decline(std::move(kernel), std::move(why))};
  if (node.output()->type().rank() > kMoveMaxRank) return {decline(std::move(kernel), "more than 8 axes")};
  return {accept_step<S>(std::move(kernel), op, node, target)};
}

}  // namespace

Candidates lower(const lathe::Transpose& op, const Node& node, const Target& target) {
  return moves<TransposeStep>("transpose", op, node, target);
}

Candidates lower(const lathe::Slice& op, const Node& node, const Target& target) {
  return moves<SliceStep>("slice", op, node, target);
}

Candidates lower(const lathe::Concat& op, const Node& node, const Target& target) {
  return moves<ConcatStep>("concat", op, node, target);
}

Candidates lower(const lathe::Pad& op, const Node& node, const Target& target) {
  return moves<PadStep>("pad", op, node, target);
}

Candidates lower(const lathe::ReverseSequence& op, const Node& node, const Target& target) {
  if (std::string why = why_no_index(node.input(1)->dtype()); !why.empty())
    return {decline("reverse_sequence", std::move(why))};
  return moves<ReverseSequenceStep>("reverse_sequence", op, node, target);
}

}  // namespace lathe::cuda
