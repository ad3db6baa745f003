#include "backends/cuda/lower/gemm_few.h"

#include <algorithm>
#include <array>

#include "graph/constant.h"

namespace lathe::cuda {
namespace {

// As in the kernel.
constexpr int64_t kWarps = 8, kTile = 16, kQuad = 4;

constexpr int kEndless = 62;  // log2 of the steps of a block that is all of a row

constexpr bool is_power_of_two(int64_t x) { return x > 0 && (x & (x - 1)) == 0; }

// Terms that a thread takes of a row at a time: 16 bytes of them, or less where k or blocks demand it; 0: none will do.
int64_t lane_terms(const FewWeights& weights, int64_t k) {
  constexpr int64_t kMost = 128, kLeast = 8;
  for (int64_t terms = kMost / bit_width(weights.type); terms >= kLeast; terms /= 2) {
    const int64_t span = kQuad * terms;
    if (k % span == 0 && (weights.block >= k || (weights.block % span == 0 && is_power_of_two(weights.block / span))))
      return terms;
  }
  return 0;
}

bool is_integer_weight(DType type) {
  return type == DType::i8 || type == DType::u8 || type == DType::i4 || type == DType::u4;
}

}  // namespace

// How blocks are cut for up to `rows` rows: the best of those measured on an H100 with the sizes of LLaMA-7B.
struct FewRowsGemm::Variant {
  int bits;
  int64_t rows, tiles, spread, depth, blocks;  // blocks: per multiprocessor
  int64_t least_columns = 0;                   // of the weights; later variants of the same rows are for wider ones
  int64_t columns() const { return kTile * tiles * spread; }
};

std::span<const FewRowsGemm::Variant> FewRowsGemm::variants() {
  static constexpr std::array kVariants = {
      Variant{16, 8, 1, 1, 6, 2},      Variant{8, 8, 1, 1, 3, 3},  Variant{8, 16, 1, 1, 2, 2},
      Variant{8, 32, 1, 4, 4, 2},      Variant{8, 64, 1, 8, 3, 2}, Variant{4, 8, 1, 1, 2, 2},
      Variant{4, 8, 2, 1, 1, 2, 8192}, Variant{4, 16, 1, 1, 2, 1}, Variant{4, 32, 1, 4, 2, 2},
      Variant{4, 64, 1, 8, 2, 2},
  };
  return kVariants;
}

void look_around(FewWeights& weights, const Node& node) {
  const Node *before = node.input(0)->producer(), *of_weights = node.input(1)->producer();
  weights.ahead =
      before != nullptr && before->is<lathe::PagedAttention>() && of_weights != nullptr && of_weights->is<Constant>();
  const auto users = node.output()->users();
  weights.before_norm =
      std::any_of(users.begin(), users.end(), [](const Node* user) { return user->is<lathe::Norm>(); });
}

int64_t FewRowsGemm::most_rows(DType weights) {
  int64_t most = 0;
  for (const Variant& variant : variants())
    if (variant.bits == bit_width(weights)) most = std::max(most, variant.rows);
  return most;
}

bool FewRowsGemm::knows(DType activations, const FewWeights& weights, int64_t k) {
  if (!is_half(activations) || k <= 0) return false;
  if (weights.type != activations && !is_integer_weight(weights.type)) return false;
  return lane_terms(weights, k) > 0;
}

FewRowsGemm::FewRowsGemm(const GemmTypes& types, const FewWeights& weights, int64_t n, int64_t k,
                         std::optional<int64_t> rows, const Node& node, size_t first_extra, const Target& target)
    : weights_(weights),
      k_(k),
      most_rows_(most_rows(weights.type)),
      span_(kQuad * lane_terms(weights, k)),
      grouped_(is_integer_weight(weights.type) && (weights.block < k || weights.zeros)),
      target_(target) {
  const int bits = bit_width(weights.type);
  const auto flag = [](bool value) { return value ? 1 : 0; };
  std::vector<const Variant*> chosen;  // for each number of rows the last one that is for this width
  for (const Variant& variant : variants()) {
    if (variant.bits != bits || n < variant.least_columns) continue;
    if (!chosen.empty() && chosen.back()->rows == variant.rows) chosen.pop_back();
    chosen.push_back(&variant);
  }
  const std::vector<std::string> stored = {fmt::format("TYPE={}", cuda_type(types.a)),
                                           fmt::format("BITS={}", bits),
                                           fmt::format("SIGNED={}", flag(is_signed_int(weights.type))),
                                           fmt::format("LANE={}", span_ / kQuad),
                                           fmt::format("SCALE={}", cuda_type(weights.scale)),
                                           fmt::format("GROUPED={}", flag(grouped_)),
                                           fmt::format("ZEROS={}", flag(weights.zeros))};
  if (is_constant(node.input(1)) && (!rows || *rows == 1) && RowGemm::knows(n, k))
    row_.emplace(types, stored, span_, k, node, first_extra, target);
  int64_t covered = row_ ? 1 : 0;
  for (const Variant* variant : chosen) {
    const bool needed = !rows || (covered < *rows && *rows <= variant->rows);
    covered = variant->rows;
    if (!needed) continue;
    std::vector<std::string> defines = stored;
    for (const auto& [name, value] : {std::pair{"ROWS", variant->rows},
                                      {"TILES", variant->tiles},
                                      {"SPREAD", variant->spread},
                                      {"DEPTH", variant->depth},
                                      {"BLOCKS", variant->blocks},
                                      {"WARPS", kWarps}})
      defines.push_back(fmt::format("{}={}", name, value));
    compiled_.push_back(
        {variant, &target.kernels.request({"matmul_few.cu", "matmul_few", std::move(defines), types.epilogue})});
  }
  finish_ = request_finish(types, target);
}

const FewRowsGemm::Compiled& FewRowsGemm::compiled_for(int64_t rows) const {
  return *std::find_if(compiled_.begin(), compiled_.end(),
                       [&](const Compiled& compiled) { return rows <= compiled.variant->rows; });
}

bool FewRowsGemm::fits(const MatmulSizes& sizes) const {
  return sizes.m > 0 && sizes.m <= most_rows_ && sizes.batches == 1 && sizes.repeats() == 1 && sizes.k == k_;
}

// Enough blocks for all places on the chip, as long as each of their warps has a step.
int FewRowsGemm::splits(const MatmulSizes& sizes) const {
  if (goes_by_row(sizes.m)) return 1;
  const Variant& variant = *compiled_for(sizes.m).variant;
  const int64_t blocks = ceil_div(sizes.n, variant.columns()), sharing = kWarps / variant.spread;
  const int64_t wanted = variant.blocks * target_.device.multiprocessors / std::max<int64_t>(blocks, 1);
  return static_cast<int>(std::clamp<int64_t>(wanted, 1, std::max<int64_t>(sizes.k / span_ / sharing, 1)));
}

size_t FewRowsGemm::workspace_bytes(const MatmulSizes& sizes) const { return partial_bytes(sizes, splits(sizes)); }

// As much as leaves half of L2 to others.
int64_t FewRowsGemm::steps_ahead(int64_t n) const {
  if (!weights_.ahead) return 0;
  return static_cast<int64_t>(target_.device.l2_bytes) / 2 / (n * span_ * bit_width(weights_.type) / 8);
}

void FewRowsGemm::run(const MatmulArgs& product, const void* scales, const void* zeros, int splits, void* workspace,
                      CudaContext& context) const {
  MatmulFewArgs args{product, scales, zeros, 1, kEndless, steps_ahead(product.n), weights_.before_norm ? 1 : 0};
  if (grouped_ && weights_.block < k_) {
    args.blocks = ceil_div(k_, weights_.block);
    for (args.block_shift = 0; (span_ << args.block_shift) < weights_.block;) ++args.block_shift;
  }
  if (goes_by_row(product.m)) return row_->run(product, scales, zeros, args.blocks, args.block_shift, context);
  const auto& [variant, kernel] = compiled_for(product.m);
  const CUstream stream = context.stream();
  args.product.splits = splits;
  args.product.partial = workspace;
  const Grid grid{static_cast<unsigned>(ceil_div(product.n, variant->columns())), static_cast<unsigned>(splits)};
  kernel->launch(stream, grid, static_cast<unsigned>(kWarps) * 32, 0, args);
  run_finish(*finish_, args.product, stream);
}

}  // namespace lathe::cuda
