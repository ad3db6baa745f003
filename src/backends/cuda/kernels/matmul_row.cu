// Products of one row of halves by weights [n, k] of 16, 8 or 4 bits, up to three matrices of them in one launch. Where
// NORM is 1 (RMS) or 2 (layer norm) the row is normalised first, by every block: NORM_CHUNKS times 8 elements a thread.
// Where PAIR is not 0 the second matrix gives input PAIR of the first one's program, column by column.
//
// Blocks of WARPS warps stay and take one tile of 16 columns after the other, whatever matrix it is of; all warps share
// its terms. Weights pass through shared memory, STAGES steps ahead of the tensor cores: without a pause from tile to
// tile, and from before the wait for earlier kernels on. Every thread reads what it has copied itself, so that warps
// only meet to add up the sums of a tile. Terms may be summed up in any order that both factors have; the row is stored
// in that of the weights. Sums are f32 and scaled by f32, block by block where GROUPED. The next kernel may start once
// the row is there: in a layer of LLaMA-7B on an H100 that saves 5 of 155 us in f16 and 11 of 72 in i4.
// Floor: the bytes of the weights over the bandwidth of memory.
#include "epilogue.cuh"
#include "few_weights.cuh"
#include "matmul_row_args.h"

constexpr int kThreads = WARPS * kWarp;
constexpr int kMatrices = PAIR > 0 ? 2 : 1;  // whose tiles are taken together
constexpr int kTile = 16;
constexpr int kSpan = 4 * LANE, kSpanBytes = kSpan * BITS / 8;  // of a row of weights, that a step takes
constexpr int kPartBytes = LANE * BITS / 8;                     // that a thread takes of it
constexpr int kStageBytes = kMatrices * 2 * kWarp * kPartBytes, kRingBytes = STAGES * kStageBytes;  // of a warp
constexpr int kAtOnce = BITS == 4 && kMatrices == 1 ? 2 : 1;  // steps of a warp, so that instructions need not wait
#if NORM
constexpr bool kLongNorm = NORM_CHUNKS > 2;  // which takes registers
#else
constexpr bool kLongNorm = false;
#endif
// Blocks that registers are to suffice for: two, and one of the next kernel, or two steps at once take longer than one.
constexpr int kPlaces = kAtOnce > 1 && !kLongNorm ? 3 : 2;
constexpr int kPack = 8;                                        // halves that are normalised together

static_assert(kAtOnce <= 2 && STAGES >= kAtOnce);

using Sums = float[kMatrices][2][4];  // two of each, so that instructions need not wait for each other

inline __device__ void copy_part(u32 to, const u8* from) {
  if constexpr (kPartBytes == 16)
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from));
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(from), "n"(kPartBytes));
}
inline __device__ void read_part(Words& words, u32 from) {
  if constexpr (kWords == 4)
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words.word[0]), "=r"(words.word[1]), "=r"(words.word[2]), "=r"(words.word[3])
                 : "r"(from));
  else
#pragma unroll
    for (int i = 0; i < kWords; ++i)
      asm volatile("ld.shared.u32 %0, [%1];" : "=r"(words.word[i]) : "r"(from + i * 4));
}

// A tile of the result. With PAIR both matrices have the same columns.
struct Tile {
  int part, column;

  __device__ Tile(const MatmulRowArgs& args, int number) : part(0) {
    if (PAIR == 0)
      for (; part + 1 < args.parts && number >= tiles_of(args, part); ++part) number -= tiles_of(args, part);
    column = number * kTile;
  }
  static __device__ int tiles_of(const MatmulRowArgs& args, int part) { return (args.part[part].n + kTile - 1) / kTile; }
  static __device__ int count(const MatmulRowArgs& args) {
    int tiles = tiles_of(args, 0);
    for (int part = 1; PAIR == 0 && part < args.parts; ++part) tiles += tiles_of(args, part);
    return tiles;
  }
  // Row of the weights that this thread has; those beyond the last are read as the last, nobody stores what comes of it.
  __device__ i64 row(const MatmulRowArgs& args, int half) const {
    return min(column + half * 8 + int(threadIdx.x) % kWarp / 4, int(args.part[part].n) - 1);
  }
};

// Asks for the steps of this warp, tile by tile.
struct Fetcher {
  const MatmulRowArgs& args;
  const u32 ring;  // of this thread
  const int tiles, steps;
  int tile, step;
  u32 stage = 0;                    // in bytes
  const u8* weights[kMatrices][2];  // of the next step

  __device__ Fetcher(const MatmulRowArgs& a, u32 memory)
      : args(a),
        ring(memory + threadIdx.x / kWarp * kRingBytes + threadIdx.x % kWarp * kPartBytes),
        tiles(Tile::count(a)),
        steps(int(a.k / kSpan)),
        tile(blockIdx.x) {
    begin_tile();
    if (step >= steps) tile = tiles;
  }
  __device__ void begin_tile() {
    step = threadIdx.x / kWarp;
    if (tile >= tiles) return;
    const Tile place(args, tile);
#pragma unroll
    for (int matrix = 0; matrix < kMatrices; ++matrix)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        weights[matrix][half] = static_cast<const u8*>(args.part[place.part + matrix].b) +
                                place.row(args, half) * (args.k * BITS / 8) + step * kSpanBytes +
                                threadIdx.x % 4 * kPartBytes;
  }
  __device__ void fetch() {
    if (tile < tiles) {
#pragma unroll
      for (int matrix = 0; matrix < kMatrices; ++matrix)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          copy_part(part_of(stage, matrix, half), weights[matrix][half]);
          weights[matrix][half] += WARPS * kSpanBytes;
        }
      step += WARPS;
      if (step >= steps) {
        tile += gridDim.x;
        begin_tile();
      }
    }
    end_of_copies();
    stage = stage_after(stage);
  }
  static __device__ u32 stage_after(u32 at) { return at + kStageBytes == kRingBytes ? 0 : at + kStageBytes; }
  __device__ u32 part_of(u32 at, int matrix, int half) const {
    return ring + at + (matrix * 2 + half) * (kWarp * kPartBytes);
  }
};

// What the weights of this thread's rows of a tile are scaled by, and their zeros.
struct Scales {
#if GROUPED
  const SCALE* rows[kMatrices][2];
#endif
#if ZEROS
  const void* zeros[kMatrices];
  i64 blocks[2];  // before those of the rows
#endif
  int block_shift;

  struct OfStep {
#if GROUPED
    SCALE scale[kMatrices][2];
#endif
#if ZEROS
    u8 zero[kMatrices][2];
#endif
    __device__ float zero_of(int matrix, int half) const {
#if ZEROS
      return float(integer_of(zero[matrix][half]));
#else
      return kMiddle;
#endif
    }
  };

  __device__ Scales(const MatmulRowArgs& args, const Tile& tile) : block_shift(args.block_shift) {
#if GROUPED
#pragma unroll
    for (int matrix = 0; matrix < kMatrices; ++matrix)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const i64 before = tile.row(args, half) * args.blocks;
        rows[matrix][half] = static_cast<const SCALE*>(args.part[tile.part + matrix].scales) + before;
        asm volatile("" : "+l"(rows[matrix][half]));  // else they are computed anew for every step
#if ZEROS
        zeros[matrix] = args.part[tile.part + matrix].zeros;
        blocks[half] = before;
#endif
      }
#endif
  }
  __device__ void load(OfStep& to, int step) const {
#if GROUPED
    const int block = step >> block_shift;
#pragma unroll
    for (int matrix = 0; matrix < kMatrices; ++matrix)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        to.scale[matrix][half] = rows[matrix][half][block];
#if ZEROS
        to.zero[matrix][half] = bits_at(zeros[matrix], blocks[half] + block);
#endif
      }
#endif
  }
};

// Where the terms of a step lie, and its weights.
struct Step {
  u32 terms, stage;
  Scales::OfStep scales;
};

// N steps at once, whose instructions need not wait for each other.
template <int N>
inline __device__ void multiply_steps(Sums& sums, const Fetcher& weights, const Step (&steps)[N]) {
  u32 x[N][kPairs];
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int i = 0; i < kPairs; i += 4)
      asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(x[n][i]), "=r"(x[n][i + 1]), "=r"(x[n][i + 2]), "=r"(x[n][i + 3])
                   : "r"(steps[n].terms + i * 4));
#pragma unroll
  for (int matrix = 0; matrix < kMatrices; ++matrix) {
    Words words[N][2];
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half) read_part(words[n][half], weights.part_of(steps[n].stage, matrix, half));
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const Scales::OfStep& scales = steps[n].scales;
      u32 pairs[2][kPairs];
#pragma unroll
      for (int half = 0; half < 2; ++half)
        expand(pairs[half], words[n][half], Expand<T>(scales.zero_of(matrix, half)));
      float unscaled[2][4] = {};
#pragma unroll
      for (int i = 0; i < kPairs; i += 2) {
        float(&sum)[4] = GROUPED ? unscaled[i / 2 % 2] : sums[matrix][i / 2 % 2];
        const u32 factors[4] = {pairs[0][i], pairs[1][i], pairs[0][i + 1], pairs[1][i + 1]};
        multiply_add(sum, factors, x[n][i], x[n][i + 1], T());
      }
#if GROUPED
#pragma unroll
      for (int half = 0; half < 2; ++half)  // all columns of the activations are the same
        sums[matrix][0][half * 2] +=
            to_register(scales.scale[matrix][half]) * (unscaled[0][half * 2] + unscaled[1][half * 2]);
#endif
    }
  }
}

// ---- results ----

struct PairReader {
  EpilogueReader memory;
  u64 partner;  // the bits of input PAIR

  template <class U, int N>
  __device__ Pack<U, N> load(int input) const {
    if (PAIR == 0 || input != PAIR) return memory.load<U, N>(input);
    Pack<U, N> pack;
    pack[0] = *reinterpret_cast<const U*>(&partner);
    return pack;
  }
};

inline __device__ void store_column(const MatmulRowArgs& args, const Tile& tile, i64 column, const float* sums) {
  const MatmulRowPart& part = args.part[tile.part];
  u64 partner = 0;
  if (PAIR > 0) {
    const T rounded = from_float<T>(sums[1]);
    partner = rounded.bits;
    if (args.part[1].output != nullptr) static_cast<T*>(args.part[1].output)[column] = rounded;
  }
  Program::Registers registers[1];
  registers[0].x0 = sums[0];
  Program::read<1, 1>(PairReader{{part.epilogue, 0, 0, column}, partner}, registers);
  static_cast<Program::Output*>(part.output)[column] = results_of(registers)[0];
}

// Adds up the sums of all warps; one of them, a different one for each tile, stores them. `turn` counts tiles.
inline __device__ void store_tile(const MatmulRowArgs& args, const Tile& tile, const Sums& sums, int turn) {
  __shared__ float shared[2][kMatrices][WARPS][kTile];
  auto& of_tile = shared[turn % 2];  // the one before may still be read
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
#pragma unroll
  for (int matrix = 0; matrix < kMatrices; ++matrix)
    if (lane % 4 == 0) {
      of_tile[matrix][warp][lane / 4] = sums[matrix][0][0] + sums[matrix][1][0];
      of_tile[matrix][warp][lane / 4 + 8] = sums[matrix][0][2] + sums[matrix][1][2];
    }
  __syncthreads();
  const int column = tile.column + lane;
  if (warp != turn % WARPS || lane >= kTile || column >= args.part[tile.part].n) return;
  float results[kMatrices] = {};
#pragma unroll
  for (int matrix = 0; matrix < kMatrices; ++matrix) {
#pragma unroll
    for (int share = 0; share < WARPS; ++share) results[matrix] += of_tile[matrix][share][lane];
#if BITS < 16 && !GROUPED
    results[matrix] *= to_register(static_cast<const SCALE*>(args.part[tile.part + matrix].scales)[column]);
#endif
  }
  store_column(args, tile, column, results);
}

// ---- the row ----

using Halves = Pack<T, kPack>;

// Eight neighbours in the order of the weights' terms.
inline __device__ void keep(T* row, i64 i, const Halves& pack) {
  u32 pairs[4];
  store_pack<kPack>(reinterpret_cast<T*>(pairs), pack);
  match_order_of_eight(pairs);
  store_pack<kPack>(row + i, *reinterpret_cast<const Halves*>(pairs));
}

#if NORM
struct Normaliser {
  const MatmulRowArgs& args;
  Pack<GAMMA, kPack> scales[NORM_CHUNKS];
  Pack<BETA, kPack> biases[NORM_CHUNKS];

  static __device__ i64 place(int chunk) { return (i64(chunk) * kThreads + threadIdx.x) * kPack; }

  // Scales and biases are constants.
  explicit __device__ Normaliser(const MatmulRowArgs& a) : args(a) {
#pragma unroll
    for (int chunk = 0; chunk < NORM_CHUNKS; ++chunk) {
      if (place(chunk) >= args.k) continue;
      if (args.norm_scale) scales[chunk] = load_pack<kPack>(static_cast<const GAMMA*>(args.norm_scale) + place(chunk));
      if (args.norm_bias) biases[chunk] = load_pack<kPack>(static_cast<const BETA*>(args.norm_bias) + place(chunk));
    }
  }
  __device__ void run(T* row) const {
    __shared__ float scratch[2][kWarp];
    float x[NORM_CHUNKS][kPack];
    float sum = 0, square = 0;
    for_all([&](int chunk) {
      const auto pack = load_pack<kPack>(static_cast<const T*>(args.a) + place(chunk));
#pragma unroll
      for (int i = 0; i < kPack; ++i) sum += x[chunk][i] = to_float(pack[i]);
    });
    const float mean = NORM == 2 ? block_reduce<Sum>(sum, scratch[0]) / float(args.k) : 0;
    for_all([&](int chunk) {
#pragma unroll
      for (int i = 0; i < kPack; ++i) square += (x[chunk][i] - mean) * (x[chunk][i] - mean);
    });
    const float factor = 1 / sqrtf(block_reduce<Sum>(square, scratch[1]) / float(args.k) + args.epsilon);
    for_all([&](int chunk) {
      Halves pack;
#pragma unroll
      for (int i = 0; i < kPack; ++i) {
        float y = (x[chunk][i] - mean) * factor;
        if (args.norm_scale) y *= to_register(scales[chunk][i]);
        if (args.norm_bias) y += to_register(biases[chunk][i]);
        pack[i] = from_float<T>(y);
      }
      if (args.normalised && blockIdx.x == 0) store_pack<kPack>(static_cast<T*>(args.normalised) + place(chunk), pack);
      keep(row, place(chunk), pack);
    });
  }
  template <class Use>
  __device__ void for_all(const Use& use) const {
#pragma unroll
    for (int chunk = 0; chunk < NORM_CHUNKS; ++chunk)
      if (place(chunk) < args.k) use(chunk);
  }
};
#else
struct Normaliser {
  const MatmulRowArgs& args;

  __device__ void run(T* row) const {
    for (i64 i = threadIdx.x * kPack; i < args.k; i += kThreads * kPack)
      keep(row, i, load_pack<kPack>(static_cast<const T*>(args.a) + i));
  }
};
#endif

extern "C" __global__ void __launch_bounds__(kThreads, kPlaces) ENTRY(const __grid_constant__ MatmulRowArgs args) {
  extern __shared__ __align__(16) u8 memory[];
  T* row = reinterpret_cast<T*>(memory + WARPS * kRingBytes);
  const Normaliser normaliser{args};
  Fetcher weights(args, shared_address(memory));
#pragma unroll 1
  for (int i = 0; i < STAGES; ++i) weights.fetch();
  await_kernels_before();
  normaliser.run(row);
  __syncthreads();
  let_next_kernel_start();
  const int first = threadIdx.x / kWarp, steps = weights.steps;
  const u32 terms = shared_address(row) + threadIdx.x % 4 * (LANE * sizeof(T));
  u32 stage = 0;
  for (int number = blockIdx.x, turn = 0; number < weights.tiles; number += gridDim.x, ++turn) {
    const Tile tile(args, number);
    const Scales scales(args, tile);
    Sums sums = {};
    Scales::OfStep next[kAtOnce];
    const auto load_next = [&](int step) {
#pragma unroll
      for (int n = 0; n < kAtOnce; ++n)
        if (step + n * WARPS < steps) scales.load(next[n], step + n * WARPS);
    };
    const auto take = [&](auto& now, int step) {
      constexpr int kCount = sizeof(now) / sizeof(now[0]);
#pragma unroll
      for (int n = 0; n < kCount; ++n) {
        now[n] = {terms + u32(step + n * WARPS) * u32(kSpan * sizeof(T)), stage, next[n]};
        stage = Fetcher::stage_after(stage);
      }
      load_next(step + kAtOnce * WARPS);
      wait_for_copies<STAGES - kCount>();
      multiply_steps(sums, weights, now);
#pragma unroll
      for (int n = 0; n < kCount; ++n) weights.fetch();
    };
    load_next(first);
    int step = first;
    for (; step + (kAtOnce - 1) * WARPS < steps; step += kAtOnce * WARPS) {
      Step now[kAtOnce];
      take(now, step);
    }
    if (kAtOnce > 1 && step < steps) {
      Step now[1];
      take(now, step);
    }
    store_tile(args, tile, sums, turn);
  }
}
