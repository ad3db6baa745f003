// Products with few rows, at most ROWS, of halves by weights [n, k] of 16, 8 or 4 bits. Weights are read once, straight
// into the registers of the threads that multiply them: for tensor cores they are the factor with 16 rows, the
// activations the one with 8 columns. Threads take 16 bytes of a row at a time where blocks of terms that share a scale
// allow it, four of them side by side; it does not matter which terms an instruction sums up, so nothing is shuffled.
// Sums are f32 and scaled by f32, block by block where GROUPED.
//
// A warp has TILES times 16 columns of the result; SPREAD warps of a block have different ones, the others share k with
// them, and so do the splits. DEPTH steps of weights are on their way to a warp at any time, the first ones while
// kernels before are still at work; where these leave the memory idle, the steps behind come as far as L2. With at most
// 16 rows the activations come with the weights, else they pass through shared memory, for all warps that have the same
// terms. Floor: the bytes of the weights over the bandwidth of memory.
//
// A product that follows starts when the blocks of this one end, not earlier: measured in a decoder on an H100, blocks
// that wait with weights in their registers, beside others that read, cost a sixth of the bandwidth. A norm may come: it
// lets the next kernel start only when it has waited itself.
// Measured on an H100, one row, 12288 x 4096: f16 2.9 TB/s (cuBLAS 2.8), i8 2.7, i4 2.2.
#include "few_weights.cuh"
#include "matmul_few_args.h"
#include "matmul_store.cuh"

constexpr int kThreads = WARPS * kWarp;
constexpr int kShare = WARPS / SPREAD;  // warps that share k
constexpr int kTile = 16, kWarpColumns = kTile * TILES, kColumns = kWarpColumns * SPREAD;
constexpr int kRowTiles = ROWS / 8;
constexpr int kSpan = 4 * LANE, kSpanBytes = kSpan * BITS / 8;  // of a row, that a step takes
constexpr int kPitch = kColumns + 4;                            // of sums in shared memory

using Sums = float[TILES][kRowTiles][4];

constexpr bool kAhead = ROWS <= 16;            // whether activations are few enough to wait for in registers
constexpr int kSliceThreads = SPREAD * kWarp;  // that have the same terms
constexpr int kLine = kSpan * sizeof(T) + 16;  // of activations in shared memory: reads meet no bank twice
constexpr int kStage = ROWS * kLine, kRing = DEPTH * kStage;  // of activations, of one slice of the warps
constexpr int kSumBytes = kShare * ROWS * kPitch * sizeof(float);
constexpr int kSharedBytes = kAhead || kSumBytes > kShare * kRing ? kSumBytes : kShare * kRing;

// What a thread has in flight of one step: parts of two rows of each tile, and of few activations.
struct Step {
  u32 activations[kAhead ? kRowTiles : 1][kPairs];
  Words words[TILES][2];
#if GROUPED
  SCALE scales[TILES][2];
#endif
#if ZEROS
  u8 zeros[TILES][2];
#endif
};

// The weights of one warp, as a thread reads them.
struct Weights {
  const MatmulFewArgs& args;
  i64 rows[TILES][2];         // rows beyond the last are read as the last; nobody stores what comes of them
  const u8* parts[TILES][2];  // this thread's parts of their first steps

  __device__ Weights(const MatmulFewArgs& few, i64 column) : args(few) {
    const i64 last = few.product.n - 1;
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const i64 wanted = column + tile * kTile + half * 8 + threadIdx.x % kWarp / 4;
        const i64 row = wanted < last ? wanted : last;
        rows[tile][half] = row;
        parts[tile][half] = static_cast<const u8*>(few.product.b) + row * (few.product.ldb * BITS / 8) +
                            threadIdx.x % 4 * (kSpanBytes / 4);
      }
  }
  __device__ void load(Step& to, i64 step) const {
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        load_once(to.words[tile][half], parts[tile][half] + step * kSpanBytes);
        const i64 block = rows[tile][half] * args.blocks + (step >> args.block_shift);
#if GROUPED
        to.scales[tile][half] = static_cast<const SCALE*>(args.scales)[block];
#endif
#if ZEROS
        to.zeros[tile][half] = bits_at(args.zeros, block);
#endif
      }
  }
  __device__ void bring_step_to_l2(i64 step) const {
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        bring_to_l2(parts[tile][half] + step * kSpanBytes);
  }
};

inline __device__ float zero_of(const Step& step, int tile, int half) {
#if ZEROS
  return float(integer_of(step.zeros[tile][half]));
#else
  return kMiddle;
#endif
}

inline __device__ void load_activations(u32* pairs, const MatmulArgs& args, int row, i64 step) {
  const T* from = static_cast<const T*>(args.a) + row * args.lda + step * kSpan + threadIdx.x % 4 * LANE;
#pragma unroll
  for (int i = 0; i < kPairs; i += 4) {
    Pack<u32, 4> pack = {};
    if (row < args.m) pack = load_pack<4>(reinterpret_cast<const u32*>(from) + i);
#pragma unroll
    for (int j = 0; j < 4; ++j) pairs[i + j] = pack[j];
  }
}

// Activations of a slice of the warps in shared memory, DEPTH stages of one step each.
struct Stages {
  u32 memory;

  explicit __device__ Stages(const void* shared) : memory(shared_address(shared)) {
    memory += threadIdx.x / kWarp % kShare * kRing;
  }
  // Asks for a step, by all threads of the slice; steps beyond the last one only count.
  __device__ void fetch(const MatmulArgs& args, int stage, i64 step, i64 steps) const {
    constexpr int kCopies = kSpan * sizeof(T) / 16;
    const int thread = threadIdx.x / kWarp / kShare * kWarp + threadIdx.x % kWarp;
    if (step < steps)
      for (int i = thread; i < ROWS * kCopies; i += kSliceThreads) {
        const int row = i / kCopies, part = i % kCopies;
        const bool inside = row < args.m;
        const T* from = static_cast<const T*>(args.a) + (inside ? row : 0) * args.lda + step * kSpan;
        copy_16(memory + stage * kStage + row * kLine + part * 16, from + part * (16 / sizeof(T)), inside);
      }
    end_of_copies();
  }
  // Until the oldest stage is there for all, and no one still reads the one before.
  __device__ void wait() const {
    wait_for_copies<DEPTH - 2>();
    asm volatile("bar.sync %0, %1;" ::"r"(1 + threadIdx.x / kWarp % kShare), "n"(kSliceThreads) : "memory");
  }
  __device__ void read(u32* pairs, int stage, int row) const {
    const u32 from = memory + stage * kStage + row * kLine + threadIdx.x % 4 * (LANE * sizeof(T));
#pragma unroll
    for (int i = 0; i < kPairs; i += 4)
      asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(pairs[i]), "=r"(pairs[i + 1]), "=r"(pairs[i + 2]), "=r"(pairs[i + 3])
                   : "r"(from + i * 4));
  }
};

inline __device__ void multiply_step(Sums& sums, const Step& step, const Stages& stages, int stage) {
  const int row = threadIdx.x % kWarp / 4;
  u32 weights[TILES][2][kPairs];
#pragma unroll
  for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      expand(weights[tile][half], step.words[tile][half], Expand<T>(zero_of(step, tile, half)));
#pragma unroll
  for (int rows = 0; rows < kRowTiles; ++rows) {
    u32 x[kPairs];
    if (!kAhead) stages.read(x, stage, rows * 8 + row);
#pragma unroll
    for (int i = 0; kAhead && i < kPairs; ++i) x[i] = step.activations[rows][i];
    match_order(x);
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile) {
      float unscaled[2][4] = {};  // two, so that instructions need not wait for each other
#pragma unroll
      for (int i = 0; i < kPairs; i += 2) {
        float(&sum)[4] = GROUPED ? unscaled[i / 2 % 2] : sums[tile][rows];
        const u32 pairs[4] = {weights[tile][0][i], weights[tile][1][i], weights[tile][0][i + 1],
                              weights[tile][1][i + 1]};
        multiply_add(sum, pairs, x[i], x[i + 1], T());
      }
#if GROUPED
#pragma unroll
      for (int i = 0; i < 4; ++i)
        sums[tile][rows][i] += to_register(step.scales[tile][i / 2]) * (unscaled[0][i] + unscaled[1][i]);
#endif
    }
  }
}

// Adds up the sums of the warps that share k.
inline __device__ void store_sums(const MatmulFewArgs& few, const Sums& sums, void* memory) {
  auto& shared = *static_cast<float(*)[kShare][ROWS][kPitch]>(memory);
  const MatmulArgs& args = few.product;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
#pragma unroll
  for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
    for (int rows = 0; rows < kRowTiles; ++rows)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        shared[warp % kShare][rows * 8 + lane % 4 * 2 + i % 2]
              [warp / kShare * kWarpColumns + tile * kTile + lane / 4 + i / 2 * 8] = sums[tile][rows][i];
  __syncthreads();
  for (int i = threadIdx.x; i < args.m * kColumns; i += kThreads) {
    const int row = i / kColumns, c = i % kColumns;
    const i64 column = i64(blockIdx.x) * kColumns + c;
    if (column >= args.n) continue;
    float sum = 0;
#pragma unroll
    for (int share = 0; share < kShare; ++share) sum += shared[share][row][c];
#if BITS < 16 && !GROUPED
    sum *= to_register(static_cast<const SCALE*>(few.scales)[column]);
#endif
    put(args, row, column, sum);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, BLOCKS) ENTRY(const __grid_constant__ MatmulFewArgs few) {
  __shared__ __align__(16) u8 memory[kSharedBytes];
  const MatmulArgs& args = few.product;
  const Stages stages(memory);
  const int warp = threadIdx.x / kWarp, row = threadIdx.x % kWarp / 4;
  const Weights weights(few, i64(blockIdx.x) * kColumns + warp / kShare * kWarpColumns);
  const i64 stride = i64(args.splits) * kShare, steps = args.k / kSpan;
  const i64 first = i64(blockIdx.y) * kShare + warp % kShare;
  if (few.next_may_start) let_next_kernel_start();
  Step ring[DEPTH];
  const auto start = [&](const auto& load) {
#pragma unroll
    for (int i = 0; i < DEPTH; ++i)
      if (first + i * stride < steps) load(ring[i], first + i * stride);
  };
  const auto load_weights = [&](Step& to, i64 step) { weights.load(to, step); };
  const auto load_rows = [&](Step& to, i64 step) {
#pragma unroll
    for (int rows = 0; kAhead && rows < kRowTiles; ++rows)
      load_activations(to.activations[rows], args, rows * 8 + row, step);
  };
  if (args.constant_b) start(load_weights);
  const i64 ahead = few.steps_ahead < steps ? few.steps_ahead : steps;
  for (i64 step = first + DEPTH * stride; step < ahead; step += stride) weights.bring_step_to_l2(step);
  await_kernels_before();
  if (!args.constant_b) start(load_weights);
  start(load_rows);
#pragma unroll
  for (int i = 0; !kAhead && i < DEPTH - 1; ++i) stages.fetch(args, i, first + i * stride, steps);
  Sums sums = {};
  for (i64 begin = first; begin < steps; begin += DEPTH * stride)
#pragma unroll
    for (int i = 0; i < DEPTH; ++i) {
      const i64 step = begin + i * stride, later = step + DEPTH * stride;
      if (step >= steps) break;
      if (!kAhead) {
        stages.wait();
        stages.fetch(args, (i + DEPTH - 1) % DEPTH, step + (DEPTH - 1) * stride, steps);
      }
      multiply_step(sums, ring[i], stages, i);
      if (later >= steps) continue;
      load_weights(ring[i], later);
      load_rows(ring[i], later);
    }
  if (!kAhead) __syncthreads();  // sums take the place of activations
  store_sums(few, sums, memory);
}
