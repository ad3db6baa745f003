// Products of many rows of halves in which every row chooses its matrix, on tensor cores: rows have been sorted, a block
// computes 64 rows of one matrix by 128 columns, each of its eight warps 32 x 32. Factors pass through registers, where
// narrow weights are widened to halves, into one of two places in shared memory, while the other one is multiplied. How
// many rows a matrix has, only the device knows: blocks without rows end at once, those of many take several tiles.
#include "grouped_weights.cuh"
#include "tensor_core.cuh"

constexpr int BM = 64, BN = 128, BK = 32, kThreads = 256;
constexpr int kChunks = BK / EACH, kPitch = BK + 8;  // an odd number of 16-byte units: no bank conflicts
constexpr int kWarpTile = 32, kStep = 16;
constexpr int kColumnParts = BN * kChunks / kThreads;  // of the weights' tile, that a thread brings
static_assert(EACH == 8 && BM * kChunks == kThreads);

using Part = Pack<T, EACH>;

struct Tile {
  T a[BM][kPitch], b[BN][kPitch];
};

// A thread's parts of the next tile.
struct Parts {
  Part a, b[kColumnParts];
};

inline __device__ Part weights_at(const GroupWeights& weights, i64 column, i64 k) {
  Part part = {};
  if (column >= weights.args.n || k >= weights.args.k) return part;
#if NARROW
  float w[EACH];
  weights.read(w, column, k);
#pragma unroll
  for (int i = 0; i < EACH; ++i) part[i] = from_float<T>(w[i]);
  return part;
#else
  return load_pack<EACH>(static_cast<const T*>(weights.parts[0]) + column * weights.args.k + k);
#endif
}

inline __device__ void multiply_tile(float (&sums)[2][4][4], const Tile& tile, int row0, int column0) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int k = 0; k < BK; k += kStep) {
    u32 left[2][4], right[2][4];
#pragma unroll
    for (int i = 0; i < 2; ++i)
      load_matrices_at<false>(left[i], shared_address(&tile.a[row0 + i * 16 + lane % 16][k + lane / 16 * 8]));
#pragma unroll
    for (int j = 0; j < 2; ++j)
      load_matrices_at<false>(
          right[j], shared_address(&tile.b[column0 + j * 16 + lane % 8 + lane / 16 * 8][k + lane / 8 % 2 * 8]));
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
        multiply_add(sums[i][j], left[i], right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1], T());
  }
}

// Rows order[0] and up to `count` of them.
inline __device__ void multiply(const GroupedMatmulArgs& args, const GroupWeights& weights, const int* order, int count,
                                Tile (&tiles)[2]) {
  const int line = threadIdx.x / kChunks, chunk = threadIdx.x % kChunks * EACH;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int row0 = warp % 2 * kWarpTile, column0 = warp / 2 * kWarpTile;
  const i64 first_column = i64(blockIdx.x) * BN;
  const T* row = row_of(args, order[line < count ? line : 0]);
  const auto fetch = [&](Parts& parts, i64 k) {
    parts.a = Part{};
    if (line < count && k + chunk < args.k) parts.a = weights.terms(row, k + chunk);
#pragma unroll
    for (int i = 0; i < kColumnParts; ++i)
      parts.b[i] = weights_at(weights, first_column + line + i * (kThreads / kChunks), k + chunk);
  };
  const auto keep = [&](Tile& tile, const Parts& parts) {
    store_pack<EACH>(&tile.a[line][chunk], parts.a);
#pragma unroll
    for (int i = 0; i < kColumnParts; ++i) store_pack<EACH>(&tile.b[line + i * (kThreads / kChunks)][chunk], parts.b[i]);
  };
  float sums[2][4][4] = {};
  Parts parts;
  fetch(parts, 0);
  __syncthreads();  // no one reads the last tile of the rows before any more
  keep(tiles[0], parts);
  __syncthreads();
  int now = 0;
  for (i64 k = BK;; k += BK, now ^= 1) {
    if (k < args.k) fetch(parts, k);
    multiply_tile(sums, tiles[now], row0, column0);
    if (k >= args.k) break;
    keep(tiles[now ^ 1], parts);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int at = row0 + i * 16 + e / 2 * 8 + lane / 4;
      if (at >= count) continue;
      T* y = static_cast<T*>(args.y) + order[at] * args.n;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const i64 column = first_column + column0 + j * 8 + lane % 4 * 2 + e % 2;
        if (column < args.n) y[column] = from_float<T>(sums[i][j][e]);
      }
    }
}

KERNEL(kThreads, GroupedMatmulArgs) {
  __shared__ __align__(16) Tile tiles[2];
  const int group = args.first_group + blockIdx.z;
  const int begin = group == 0 ? 0 : args.ends[group - 1], end = args.ends[group];
  for (int first = begin + blockIdx.y * BM; first < end; first += gridDim.y * BM)
    multiply(args, GroupWeights(args, blockIdx.z), args.order + first, end - first, tiles);
}
