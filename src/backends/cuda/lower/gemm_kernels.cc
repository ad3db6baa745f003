#include "backends/cuda/lower/gemm_kernels.h"

#include <algorithm>

namespace lathe::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int64_t kMaxGridYz = 65535;
constexpr int64_t kMmaTile = 128, kMmaStages = 4;
constexpr int64_t kMmaLine = 64, kMmaCopy = 16;  // bytes of terms in a tile, and copied at a time
constexpr int64_t kMinDepth = 256;               // of a block of the skinny kernel, when k is split

// Shares k among blocks; afterwards there are args.splits of them.
void split(MatmulArgs& args, int splits, void* workspace) {
  args.k_per_split = ceil_div(ceil_div(args.k, splits), kMinDepth) * kMinDepth;
  args.splits = static_cast<int>(std::max<int64_t>(ceil_div(args.k, args.k_per_split), 1));
  args.partial = workspace;
}

// Sums of bytes are exact.
std::string sum_type(const GemmTypes& types) { return types.product == DType::i32 ? "SUM=i32" : "SUM=float"; }

}  // namespace

// ---- k split among blocks ----

size_t partial_bytes(const MatmulSizes& sizes, int splits) {
  return splits == 1 ? 0 : static_cast<size_t>(splits * sizes.m * sizes.n) * sizeof(float);
}

const Kernel* request_finish(const GemmTypes& types, const Target& target) {
  return &target.kernels.request({"matmul_finish.cu", "matmul_finish", {sum_type(types)}, types.epilogue});
}

void run_finish(const Kernel& finish, const MatmulArgs& args, CUstream stream) {
  if (args.splits == 1) return;
  finish.launch(stream, {static_cast<unsigned>(ceil_div(args.m * args.n, kThreads))}, kThreads, 0, args);
}

MatmulArgs matmul_args(const MatmulSizes& sizes, const EpilogueArgs& epilogue) {
  MatmulArgs args{};
  args.m = sizes.m;
  args.n = sizes.n;
  args.k = sizes.k;
  args.lda = sizes.lda;
  args.ldb = sizes.ldb;
  args.batches = sizes.batches;
  args.a_batch = sizes.a_batch;
  args.b_batch = sizes.b_batch;
  args.splits = 1;
  args.k_per_split = sizes.k;
  args.epilogue = epilogue;
  return args;
}

// ---- SkinnyGemm ----

bool SkinnyGemm::knows(const GemmTypes& types) {
  return types.a == types.b && (types.a == DType::f32 || is_half(types.a)) && !types.trans_a;
}

SkinnyGemm::SkinnyGemm(const GemmTypes& types, int64_t most_rows, std::optional<int64_t> rows, const Target& target)
    : types_(types), most_rows_(most_rows), target_(target) {
  const auto request = [&](int64_t count) {
    return &target.kernels.request({"matmul_skinny.cu",
                                    "matmul_skinny",
                                    {fmt::format("TYPE={}", cuda_type(types.a)), fmt::format("ROWS={}", count),
                                     fmt::format("TRANS_B={}", types.trans_b ? 1 : 0)},
                                    types.epilogue});
  };
  if (!rows || *rows == 1) one_row_ = request(1);
  if (most_rows > 1 && (!rows || *rows > 1)) rows_ = request(kSkinnyRows);
  finish_ = request_finish(types, target);
}

int64_t SkinnyGemm::vector() const { return 128 / bit_width(types_.a); }

// Columns of the result per block, as in the kernel.
int64_t SkinnyGemm::block_columns() const { return types_.trans_b ? 16 : 8 * vector(); }

bool SkinnyGemm::fits(const MatmulSizes& sizes) const {
  return sizes.m <= most_rows_ && sizes.batches == 1 && sizes.repeats() == 1 &&
         (types_.trans_b ? sizes.k : sizes.n) % vector() == 0;
}

// Enough blocks to fill the chip twice, as long as each has something to walk along.
int SkinnyGemm::splits(const MatmulSizes& sizes) const {
  const int64_t blocks = ceil_div(sizes.n, block_columns());
  const int64_t wanted = 2 * target_.device.multiprocessors / std::max<int64_t>(blocks, 1);
  return static_cast<int>(std::clamp<int64_t>(wanted, 1, std::max<int64_t>(sizes.k / kMinDepth, 1)));
}

size_t SkinnyGemm::workspace_bytes(const MatmulSizes& sizes) const { return partial_bytes(sizes, splits(sizes)); }

void SkinnyGemm::run(MatmulArgs args, int splits, void* workspace, CUstream stream) const {
  split(args, splits, workspace);
  const Grid grid{static_cast<unsigned>(ceil_div(args.n, block_columns())), static_cast<unsigned>(args.splits)};
  (args.m == 1 ? one_row_ : rows_)->launch(stream, grid, kThreads, 0, args);
  run_finish(*finish_, args, stream);
}

// ---- MmaGemm ----

bool MmaGemm::knows(const GemmTypes& types, const DeviceInfo& device) {
  if (types.trans_a) return false;
  const bool floats = types.a == DType::f8e4m3 && types.b == DType::f8e4m3 && device.major * 10 + device.minor >= 89;
  if (floats || (is_byte(types.a) && is_byte(types.b))) return types.trans_b;
  return types.a == types.b && is_half(types.a);
}

MmaGemm::MmaGemm(const GemmTypes& types, const Target& target) : types_(types), target_(target) {
  // As in the kernel: lines are padded by one copy.
  const int64_t element = bit_width(types.a) / 8, depth = kMmaLine / element;
  const int64_t left = kMmaTile * (kMmaLine + kMmaCopy),
                right = types.trans_b ? left : depth * (kMmaTile * element + kMmaCopy);
  shared_bytes_ = static_cast<size_t>((left + right) * kMmaStages);
  kernel_ =
      &target.kernels.request({"matmul_mma.cu",
                               "matmul_mma",
                               {"A=" + operand_type(types.a), "B=" + operand_type(types.b), sum_type(types),
                                fmt::format("STAGES={}", kMmaStages), fmt::format("TRANS_B={}", types.trans_b ? 1 : 0)},
                               types.epilogue});
  finish_ = request_finish(types, target);
}

bool MmaGemm::takes_weights(const GemmTypes& types, int64_t n, int64_t k) {
  return k * (bit_width(types.a) / 8) % kMmaCopy == 0 && n % 8 == 0 && ceil_div(n, kMmaTile) <= kMaxGridYz;
}

bool MmaGemm::fits(const MatmulSizes& sizes) const {
  return takes_weights(types_, sizes.n, sizes.k) && sizes.batches <= kMaxGridYz;
}

int MmaGemm::splits(const MatmulSizes& sizes) const {
  if (sizes.batches > 1 || sizes.repeats() > 1) return 1;
  const int64_t rows = target_.uniform ? 1 : ceil_div(sizes.m, kMmaTile), tiles = rows * ceil_div(sizes.n, kMmaTile);
  const int64_t wanted = target_.device.multiprocessors / std::max<int64_t>(tiles, 1);
  return static_cast<int>(std::clamp<int64_t>(wanted, 1, std::max<int64_t>(sizes.k / (2 * kMinDepth), 1)));
}

size_t MmaGemm::workspace_bytes(const MatmulSizes& sizes) const { return partial_bytes(sizes, splits(sizes)); }

void MmaGemm::run(MatmulArgs args, int splits, void* workspace, CUstream stream) const {
  split(args, splits, workspace);
  const Grid grid{static_cast<unsigned>(ceil_div(args.m, kMmaTile)), static_cast<unsigned>(ceil_div(args.n, kMmaTile)),
                  static_cast<unsigned>(args.batches * args.splits)};
  kernel_->launch(stream, grid, kThreads, shared_bytes_, args);
  run_finish(*finish_, args, stream);
}

// ---- TileGemm ----

TileGemm::TileGemm(const GemmTypes& types, const Target& target) {
  const bool wide = !is_half(types.product) && types.product != DType::f32;
  const int thread = wide ? 4 : 8;
  block_ = 16 * thread;
  kernel_ = &target.kernels.request(
      {"matmul_tile.cu",
       "matmul_tile",
       {fmt::format("A={}", cuda_type(types.a)), fmt::format("B={}", cuda_type(types.b)),
        fmt::format("ACC={}", wide ? cuda_type(types.product) : "float"), fmt::format("BM={}", block_),
        fmt::format("BN={}", block_), fmt::format("TM={}", thread), fmt::format("TN={}", thread),
        fmt::format("TRANS_A={}", types.trans_a ? 1 : 0), fmt::format("TRANS_B={}", types.trans_b ? 1 : 0)},
       types.epilogue});
}

void TileGemm::run(const MatmulArgs& args, CUstream stream) const {
  const int64_t columns = ceil_div(args.n, block_);
  if (columns > kMaxGridYz) fail(ErrorCode::unsupported, "a product with {} columns is too wide", args.n);
  const Grid grid{static_cast<unsigned>(ceil_div(args.m, block_)), static_cast<unsigned>(columns),
                  static_cast<unsigned>(std::min<int64_t>(args.batches, kMaxGridYz))};
  kernel_->launch(stream, grid, kThreads, 0, args);
}

}  // namespace lathe::cuda
