#include "backends/cuda/lower/gemm_sm90.h"

#include <algorithm>
#include <array>
#include <limits>

#include "backends/cuda/api/tensor_map.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

// As in the kernels.
constexpr int64_t kLine = 128, kGroupRows = 64, kHalfColumns = 64, kBoxRows = 16;
constexpr int64_t kGroupThreads = 128, kWarpThreads = 32;
constexpr int64_t kConsumers = 2, kBoxBytes = 2 * 8 * kBoxRows * kLine;  // of all warps
constexpr int64_t kBarrierBytes = 16, kSwizzleBytes = 1024;              // per stage; what tiles are aligned to
constexpr int64_t kMostSplits = 8;                                       // blocks of a cluster

// The largest tiles read least. Those of 192 columns fill the last round of blocks where others leave a third of the
// chip idle. With few rows small ones, and shared terms, bring more of the chip to work; half a ring leaves room for
// the blocks of the next product, which then fetch their weights before this one is done.
constexpr std::array kVariants = {
    Sm90Variant{"128x256", 128, 256, 4},           Sm90Variant{"256x128", 256, 128, 4},
    Sm90Variant{"128x192", 128, 192, 4},           Sm90Variant{"128x128", 128, 128, 6},
    Sm90Variant{"64x64_split", 64, 64, 12, 1},     Sm90Variant{"64x64_split_2", 64, 64, 6, 2},
    Sm90Variant{"64x64_split_half", 64, 64, 6, 1}, Sm90Variant{"64x128_split", 64, 128, 8, 1},
};
constexpr int64_t kFewRows = 512;  // up to which splitting may pay

int64_t bytes_of(DType type) { return bit_width(type) / 8; }

// A matrix [batches, rows, columns], read or written in boxes of `box_rows` lines of 128 bytes.
CUtensorMap map_of(const DriverApi& driver, const void* address, int64_t element, int64_t rows, int64_t columns,
                   int64_t row_stride, int64_t batches, int64_t batch_stride, int64_t box_rows) {
  const std::array<int64_t, 3> sizes = {columns, rows, batches}, box = {kLine / element, box_rows, 1};
  // A matrix without others after it has a stride all the same, which nothing uses.
  const int64_t next = batches > 1 ? batch_stride : rows * row_stride;
  const std::array<int64_t, 2> strides = {row_stride * element, next * element};
  return make_tensor_map(driver, address, {static_cast<int>(element), sizes, strides, box});
}

}  // namespace

std::vector<const Sm90Variant*> sm90_variants(std::optional<int64_t> rows, DType output) {
  std::vector<const Sm90Variant*> variants;
  for (const Sm90Variant& variant : kVariants) {
    const bool few = !rows || *rows <= kFewRows, many = !rows || *rows > kGroupRows;
    const bool whole_lines = variant.columns * bytes_of(output) % kLine == 0;  // in which results leave
    if (variant.waves > 0 ? few : many && whole_lines) variants.push_back(&variant);
  }
  return variants;
}

bool Sm90Gemm::knows(const GemmTypes& types, const DeviceInfo& device) {
  const bool halves = types.a == types.b && is_half(types.a);
  const bool bytes = (is_byte(types.a) && is_byte(types.b)) || (types.a == DType::f8e4m3 && types.b == DType::f8e4m3);
  const int width = bit_width(types.output);
  return device.major == 9 && !types.trans_a && (halves || (bytes && types.trans_b)) && width >= 8 && width <= 32;
}

Sm90Gemm::Sm90Gemm(const GemmTypes& types, const Sm90Variant& variant, const Target& target)
    : types_(types), variant_(variant), target_(target) {
  const bool split = variant.waves > 0;
  std::vector<std::string> defines = {"A=" + operand_type(types.a),
                                      "B=" + operand_type(types.b),
                                      is_byte(types.a) ? "SUM=i32" : "SUM=float",
                                      fmt::format("BM={}", variant.rows),
                                      fmt::format("BN={}", variant.columns),
                                      fmt::format("ROWS={}", split ? kGroupRows : variant.rows / kConsumers),
                                      fmt::format("STAGES={}", variant.stages),
                                      fmt::format("RIGHT={}", types.trans_b ? 0 : 1)};
  if (!split) {
    defines.push_back(fmt::format("ROW_EXTRAS={}", types.extras.rows));
    defines.push_back(fmt::format("COLUMN_EXTRAS={}", types.extras.columns));
  }
  const std::string entry = split ? "matmul_sm90_split" : "matmul_sm90";
  kernel_ = &target.kernels.request({entry + ".cu", entry, std::move(defines), types.epilogue});
}

// The copy engine wants addresses and strides that are multiples of 16 bytes, and coordinates of 32 bits.
bool Sm90Gemm::takes_weights(const GemmTypes& types, int64_t n, int64_t k) {
  return k * bytes_of(types.a) % kTensorMapAlignment == 0 && n * bytes_of(types.output) % kTensorMapAlignment == 0 &&
         n % 4 == 0;
}

bool Sm90Gemm::fits(const MatmulSizes& sizes) const {
  const int64_t element = bytes_of(types_.a);
  const auto aligned = [&](int64_t elements) { return elements * element % kTensorMapAlignment == 0; };
  const auto all_aligned = [&](const std::vector<int64_t>& offsets) {
    return std::all_of(offsets.begin(), offsets.end(), aligned);
  };
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / kMostSplits;
  const int64_t most_tiles = ceil_div(sizes.m, kGroupRows) * ceil_div(sizes.n, kHalfColumns) * sizes.batches;
  return takes_weights(types_, sizes.n, sizes.k) && aligned(sizes.ldb) && aligned(sizes.a_batch) &&
         aligned(sizes.b_batch) && all_aligned(sizes.a_offsets) && all_aligned(sizes.b_offsets) &&
         std::max({sizes.m, sizes.n, sizes.k, most_tiles, sizes.batches}) < kMost;
}

int64_t Sm90Gemm::tiles(const MatmulArgs& args) const {
  return ceil_div(args.m, variant_.rows) * ceil_div(args.n, variant_.columns) * args.batches;
}

// As many as the waves take, each with about as many stages of terms.
int Sm90Gemm::splits(const MatmulArgs& args) const {
  const int64_t steps = ceil_div(args.k * bytes_of(types_.a), kLine);
  const int64_t wanted = variant_.waves * target_.device.multiprocessors / tiles(args);
  const int64_t share = ceil_div(steps, std::clamp<int64_t>(wanted, 1, std::min(kMostSplits, steps)));
  return static_cast<int>(ceil_div(steps, share));
}

void Sm90Gemm::run(MatmulArgs args, CUstream stream) const {
  const DriverApi& driver = target_.kernels.device().driver();
  const int64_t element = bytes_of(types_.a), output = bytes_of(types_.output);
  const int64_t batches_a = args.a_batch == 0 ? 1 : args.batches, batches_b = args.b_batch == 0 ? 1 : args.batches;
  const CUtensorMap a =
      map_of(driver, args.a, element, args.m, args.k, args.lda, batches_a, args.a_batch, variant_.rows);
  const CUtensorMap b =
      types_.trans_b
          ? map_of(driver, args.b, element, args.n, args.k, args.ldb, batches_b, args.b_batch, variant_.columns)
          : map_of(driver, args.b, element, args.k, args.n, args.ldb, batches_b, args.b_batch, kHalfColumns);
  const int64_t ring = (variant_.rows + variant_.columns) * kLine * variant_.stages + variant_.stages * kBarrierBytes;
  if (variant_.waves > 0) {
    args.splits = splits(args);
    const Grid grid{.x = static_cast<unsigned>(tiles(args) * args.splits),
                    .cluster = static_cast<unsigned>(args.splits)};
    const int64_t threads = variant_.rows / kGroupRows * kGroupThreads + kWarpThreads;
    kernel_->launch(stream, grid, static_cast<unsigned>(threads), static_cast<size_t>(ring + kSwizzleBytes), args, a,
                    b);
    return;
  }
  auto* first = static_cast<std::byte*>(args.output) + args.first_row * args.n * output;
  const CUtensorMap y = map_of(driver, first, output, args.m, args.n, args.n, args.batches, args.m * args.n, kBoxRows);
  const Grid grid{static_cast<unsigned>(std::min<int64_t>(tiles(args), target_.device.multiprocessors))};
  kernel_->launch(stream, grid, (kConsumers + 1) * kGroupThreads, static_cast<size_t>(ring + kBoxBytes + kSwizzleBytes),
                  args, a, b, y);
}

}  // namespace lathe::cuda
