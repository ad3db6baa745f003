// Products of few rows on the tensor cores of Hopper: the blocks of a cluster have one tile of BM x BN results and
// share its terms, so that more of the chip takes part in reading b. Their sums then lie in shared memory, and each
// block adds up its part of the results of all, always in the same order, and computes the epilogue. One warp asks the
// copy engine for terms, a warpgroup for each 64 rows multiplies. Floor: the bytes of b over the bandwidth of memory.
#include "cluster.cuh"
#include "epilogue.cuh"
#include "matmul_sm90.cuh"

static_assert(ROWS == 64);
constexpr int kGroupThreads = 128, kConsumerThreads = BM / 64 * kGroupThreads, kThreads = kConsumerThreads + kWarp;
constexpr int kPitch = BN + 8;  // of sums in shared memory: writes of a warp then meet no bank twice
constexpr int kMostSplits = 8;
constexpr int kPack = 4;        // results that a thread adds up at a time
static_assert(BM * kPitch * sizeof(SUM) <= kRingBytes);

// This block's tile and its share of the terms.
struct Share {
  int row, column, batch, first_step, steps, splits;
  u32 rank;

  explicit __device__ Share(const MatmulArgs& args) : splits(args.splits), rank(block_in_cluster()) {
    const int columns = (int(args.n) + BN - 1) / BN, rows = (int(args.m) + BM - 1) / BM;
    const int tile = blockIdx.x / splits, in_batch = tile % (rows * columns);
    row = in_batch % rows * BM;
    column = in_batch / rows * BN;
    batch = tile / (rows * columns);
    const int all = int((args.k + kTerms - 1) / kTerms), most = (all + splits - 1) / splits;
    first_step = rank * most;
    steps = max(min(most, all - first_step), 0);
  }
};

// One thread asks for the terms. Those of b that fill the ring may come while kernels before are still at work.
struct Producer {
  const MatmulArgs& args;
  const TensorMap &map_a, &map_b;
  const Ring& ring;
  const Share& share;

  __device__ int ahead() const { return args.constant_b ? min(share.steps, STAGES) : 0; }
  __device__ void fill_ahead() const {
    for (int step = 0; step < ahead(); ++step) load_b(step, step);
  }
  __device__ void fill() const {
    const int batch = args.a_batch == 0 ? 0 : share.batch, done = ahead();
    Position at;
    for (int step = 0; step < share.steps; ++step, at.advance()) {
      if (step >= done) {
        wait(ring.empty(at.stage), at.parity ^ 1);
        load_b(step, at.stage);
      }
      load_rows(ring.a(at.stage), map_a, ring.full(at.stage), (share.first_step + step) * kTerms, share.row, batch);
    }
  }
  // Announces both factors.
  __device__ void load_b(int step, int stage) const {
    arrive_expecting(ring.full(stage), kStageBytes);
    load_columns(ring.b(stage), map_b, ring.full(stage), (share.first_step + step) * kTerms, share.column,
                 args.b_batch == 0 ? 0 : share.batch);
  }
};

// Multiplies, and leaves the sums of this block in the ring's memory.
inline __device__ void consume(const Ring& ring, const Share& share) {
  const int group = threadIdx.x / kGroupThreads, thread = threadIdx.x % kGroupThreads;
  Sums sums = {};
  if (share.steps > 0)
    multiply_stages(sums, ring, Position(), group * ROWS, share.steps, thread == 0);
  asm volatile("bar.sync 1, %0;" ::"n"(kConsumerThreads) : "memory");  // all have read what is overwritten now
  const int line = group * ROWS + thread / kWarp * 16 + thread % kWarp / 4, pair = thread % 4 * 2;
#pragma unroll
  for (int n = 0; n < BN / 8; ++n)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      store_to_shared(ring.stages + ((line + half * 8) * kPitch + n * 8 + pair) * u32(sizeof(SUM)),
                      Pack<SUM, 2>{sums[0][n][half * 2], sums[0][n][half * 2 + 1]});
}

// Adds up this block's part of the results of the cluster.
inline __device__ void add_and_store(const MatmulArgs& args, const Ring& ring, const Share& share) {
  constexpr int kPacks = BN / kPack;
  for (int i = share.rank * kThreads + threadIdx.x; i < BM * kPacks; i += share.splits * kThreads) {
    const int line = i / kPacks, offset = i % kPacks * kPack;
    Pack<SUM, kPack> parts[kMostSplits];
#pragma unroll
    for (int block = 0; block < kMostSplits; ++block)
      if (block < share.splits)
        parts[block] = load_from_block<SUM>(block, ring.stages + (line * kPitch + offset) * u32(sizeof(SUM)));
    SUM sums[kPack] = {};
#pragma unroll
    for (int block = 0; block < kMostSplits; ++block)
#pragma unroll
      for (int j = 0; j < kPack; ++j) sums[j] += block < share.splits ? parts[block][j] : SUM(0);
    const int row = share.row + line, column = share.column + offset;
    if (row >= int(args.m) || column >= int(args.n)) continue;
    const i64 output_row = args.first_row + share.batch * args.m + row;
    finish<kPack>(args.epilogue, args.output, 0, output_row, column, output_row * args.n + column, sums);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    ENTRY(const __grid_constant__ MatmulArgs args, const __grid_constant__ TensorMap map_a,
          const __grid_constant__ TensorMap map_b) {
  extern __shared__ __align__(1024) u8 memory[];
  const Ring ring((shared_address(memory) + 1023) / 1024 * 1024);
  const Share share(args);
  const Producer producer{args, map_a, map_b, ring, share};
  let_next_kernel_start();
  if (threadIdx.x == kConsumerThreads) {
    prefetch_map(map_a);
    prefetch_map(map_b);
    ring.make(BM / 64);
    producer.fill_ahead();
  }
  __syncthreads();
  await_kernels_before();
  if (threadIdx.x >= kConsumerThreads) {
    if (threadIdx.x == kConsumerThreads) producer.fill();
    __syncwarp();
  } else {
    consume(ring, share);
  }
  __syncthreads();  // says nothing more than the next one, but compute-sanitizer understands it
  wait_for_cluster();
  add_and_store(args, ring, share);
  wait_for_cluster();  // others may still be reading this block's sums
}
