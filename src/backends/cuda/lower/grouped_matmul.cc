// Products in which every row chooses its matrix. Few rows find their matrices by themselves; many are sorted first, on
// the device, so that nothing waits for it. Matrices are operands of their own, and their addresses arguments of the
// kernels: where these are too many, each launch is for some of the matrices.
#include "backends/cuda/kernels/grouped_matmul_args.h"

#include <algorithm>

#include "backends/cuda/lower/lower.h"
#include "backends/cuda/program_code.h"
#include "backends/cuda/weight_packing.h"
#include "graph/constant.h"

namespace lathe::cuda {
namespace {

constexpr int64_t kFewRows = 16;  // up to so many read their matrices on their own
constexpr int64_t kEach = 8;      // terms that a thread takes at a time, if all rows and blocks are made of them
// As in the kernels.
constexpr int64_t kRowsOfBlock = 8, kColumnsOfBlock = 32, kTileRows = 64, kTileColumns = 128;
constexpr unsigned kThreads = 256;

bool has(const Node& node, size_t operand) { return operand < node.inputs().size() && node.input(operand) != nullptr; }

// How the kernels read the matrices.
std::vector<std::string> defines_of(const lathe::GroupedMatMul& op, const Node& node, bool packs) {
  const auto type = [&](size_t operand) { return node.input(kGroupedOperands + operand)->dtype(); };
  std::vector<std::string> defines = {fmt::format("TYPE={}", cuda_type(node.input(0)->dtype())),
                                      fmt::format("EACH={}", packs ? kEach : 1)};
  if (op.block == 0) {
    defines.insert(defines.end(), {"NARROW=0", fmt::format("WEIGHT={}", cuda_type(type(0)))});
    return defines;
  }
  const int zeros = !has(node, kGroupedOperands + 2) ? 0 : type(2) == type(0) ? 1 : 2;
  const int order = has(node, kGroupedOperands + 3) ? 1 : 0;
  defines.insert(
      defines.end(),
      {"NARROW=1", fmt::format("BITS={}", bit_width(type(0))), fmt::format("SIGNED={}", is_signed_int(type(0)) ? 1 : 0),
       fmt::format("SCALE={}", cuda_type(type(1))), fmt::format("ZEROS={}", zeros), fmt::format("ORDER={}", order)});
  return defines;
}

class GroupedMatMulStep : public Step {
 public:
  GroupedMatMulStep(const lathe::GroupedMatMul& op, const Node& node, const Target& target)
      : each_(operands_of_group(op)),
        groups_(static_cast<int64_t>((node.inputs().size() - kGroupedOperands) / each_)),
        n_(node.output()->shape()[2].value()),
        k_(node.input(kGroupedOperands)->shape()[op.trans_b || op.block > 0 ? 1 : 0].value()),
        block_(std::min(op.block, std::max<int64_t>(k_, 1))) {
    const bool packs = k_ % kEach == 0 && (block_ % kEach == 0 || block_ >= k_);
    tiles_ = packs && is_half(node.input(0)->dtype());
    const std::vector<std::string> defines = defines_of(op, node, packs);
    const auto rows_kernel = [&](int64_t rows) {
      std::vector<std::string> all = defines;
      all.push_back(fmt::format("ROWS={}", rows));
      return &target.kernels.request({"grouped_rows.cu", "grouped_rows", std::move(all), {}});
    };
    // Where many rows are computed in another way, a row's bits would depend on how many there are.
    if (!tiles_ || !target.uniform) few_ = rows_kernel(1);
    many_ = tiles_ ? &target.kernels.request({"grouped_tiles.cu", "grouped_tiles", defines, {}})
                   : rows_kernel(kRowsOfBlock);
    sort_ = &target.kernels.request({"sort_rows.cu", "sort_rows", {}, {}});
  }

  size_t workspace_bytes(const StepIo& io) const override {
    const int64_t rows = io.inputs[1].elements();
    return is_few(rows) ? 0 : static_cast<size_t>(groups_ + rows) * sizeof(int);
  }

  void run(const StepIo& io, const StepState*, void* workspace, DeviceContext& device) const override {
    const int64_t rows = io.inputs[1].elements();
    if (rows == 0 || n_ == 0) return;
    const CUstream stream = stream_of(device);
    GroupedMatmulArgs args = args_of(io);
    const bool few = is_few(rows);
    if (!few) {
      int *ends = static_cast<int*>(workspace), *order = ends + groups_;
      const SortRowsArgs sort{args.chosen,      ends, order, static_cast<int>(rows), static_cast<int>(groups_),
                              args.wide_choices};
      sort_->launch(stream, {1}, kSortThreads, 0, sort);
      args.ends = ends;
      args.order = order;
    }
    for (int64_t first = 0; first < groups_; first += groups_of_launch()) {
      args.first_group = static_cast<int>(first);
      args.groups = static_cast<int>(std::min(groups_of_launch(), groups_ - first));
      set_parts(args, io);
      (few ? few_ : many_)
          ->launch(stream, few ? grid_of_few(rows) : grid_of_many(rows, args.groups), kThreads, 0, args);
    }
  }

 private:
  bool is_few(int64_t rows) const { return few_ != nullptr && rows <= kFewRows; }
  int64_t parts_of_group() const { return each_ == 1 ? 1 : kNarrowParts; }
  int64_t groups_of_launch() const { return kGroupedParts / parts_of_group(); }

  GroupedMatmulArgs args_of(const StepIo& io) const {
    GroupedMatmulArgs args{};
    args.a = io.inputs[0].data;
    args.y = io.outputs[0].data;
    args.chosen = io.inputs[1].data;
    args.n = n_;
    args.k = k_;
    args.block = std::max<int64_t>(block_, 1);
    args.blocks = ceil_div(k_, args.block);
    args.choices = static_cast<int>(io.inputs[1].dims[1]);
    args.shared = io.inputs[0].dims[1] == 1 ? 1 : 0;
    args.wide_choices = io.inputs[1].dtype == DType::i64 ? 1 : 0;
    return args;
  }

  void set_parts(GroupedMatmulArgs& args, const StepIo& io) const {
    for (int64_t group = 0; group < args.groups; ++group)
      for (size_t part = 0; part < each_; ++part) {
        const TensorRef& operand =
            io.inputs[kGroupedOperands + static_cast<size_t>(args.first_group + group) * each_ + part];
        args.parts[static_cast<size_t>(group * parts_of_group()) + part] = operand.present ? operand.data : nullptr;
      }
  }

  Grid grid_of_few(int64_t rows) const {
    return {static_cast<unsigned>(ceil_div(n_, kColumnsOfBlock)), static_cast<unsigned>(rows)};
  }
  // Places for twice the rows that each group would have if all had the same number; more are taken in turn.
  Grid grid_of_many(int64_t rows, int64_t groups) const {
    const int64_t columns = tiles_ ? kTileColumns : kColumnsOfBlock, rows_of_block = tiles_ ? kTileRows : kRowsOfBlock;
    const int64_t places = std::clamp<int64_t>(ceil_div(2 * rows, groups_ * rows_of_block), 1, 65535);
    return {static_cast<unsigned>(ceil_div(n_, columns)), static_cast<unsigned>(places), static_cast<unsigned>(groups)};
  }

  size_t each_;
  int64_t groups_, n_, k_, block_;
  bool tiles_ = false;
  const Kernel *few_ = nullptr, *many_ = nullptr, *sort_ = nullptr;
};

std::string why_not(const lathe::GroupedMatMul& op, const Node& node) {
  const auto weights = node.inputs().subspan(kGroupedOperands);
  const bool constant = std::all_of(weights.begin(), weights.end(),
                                    [](const Value* value) { return value == nullptr || is_constant(value); });
  if (!constant) return "the weights are not constant";
  const int bits = bit_width(weights[0]->dtype());
  if (op.block > 0 && bits != 2 && bits != 4 && bits != 8) return "weights of other than 2, 4 or 8 bits";
  return {};
}

}  // namespace

Candidates lower(const lathe::GroupedMatMul& op, const Node& node, const Target& target) {
  if (std::string why = why_not(op, node); !why.empty()) return {decline("grouped_matmul", std::move(why))};
  return {accept("grouped_matmul", [&op, &node, target] {
    std::vector<WeightLayout> layouts(node.inputs().size());
    if (op.block == 0 && !op.trans_b)
      std::fill(layouts.begin() + kGroupedOperands, layouts.end(), transposed_weights());
    return Lowered{std::make_unique<GroupedMatMulStep>(op, node, target), std::move(layouts)};
  })};
}

}  // namespace lathe::cuda
