// Flash attention in f16 or bf16 for Hopper (sm_90a). CONSUMERS warpgroups of 64 rows each share keys and values, which
// the copy engine brings through two rings of DEPTH tiles, told to by one more warpgroup. A consumer starts the
// product for its next scores and the one that adds the values of its last, then turns the scores into exponentials
// while the latter is running; consumers take turns at starting products, so that the exponentials of one overlap with
// the products of the others. Blocks stay, and go from tile to tile of rows.
//
// PACKED: the last tile of keys of a sequence also brings tokens of the next one, whose weight is 0: values that are not
// finite spoil the sequence before them.
//
// Definitions beside those of attention.cuh: CONSUMERS, DEPTH, CONSUMER_REGISTERS and PRODUCER_REGISTERS (0: as
// compiled). HEAD and VALUE are head sizes that the instructions have. Floor: 4 * rows * keys * head size flops over
// the tensor peak, or rows * keys exponentials at 16 in a clock and multiprocessor: with heads of 64 features both take
// the same time.
#define KEEP_STARTS 1
#include "attention_rows.cuh"
#include "tma.cuh"
#include "wgmma.cuh"

constexpr int kGroup = 128;                  // threads of a warpgroup
constexpr int kLine = 64, kLineBytes = 128;  // of shared memory: 64 features, swizzled in 16-byte units
constexpr int kHeadLines = (HEAD + kLine - 1) / kLine, kValueLines = (VALUE + kLine - 1) / kLine;  // of a token
constexpr int kGroupRows = 64;
constexpr u32 kQueryBytes = kHeadLines * kGroupRows * kLineBytes;  // of a warpgroup
constexpr u32 kKeyBytes = kHeadLines * KEYS * kLineBytes, kValueBytes = kValueLines * KEYS * kLineBytes;
static_assert(ROWS == CONSUMERS * kGroupRows && THREADS == (CONSUMERS + 1) * kGroup && TILES == 1 && VECTOR == 8);
static_assert(!K_TRANSPOSED && !V_TRANSPOSED && (SCORE != 2 || KEYS <= kGroup));

// ---- shared memory ----

// How many stages of a ring have been gone through.
struct Position {
  u32 count = 0;
  __device__ int stage() const { return count % DEPTH; }
  __device__ u32 parity() const { return count / DEPTH % 2; }
  __device__ void advance() { ++count; }
};

struct Shared {
  u32 queries, keys, values, barriers;
  float* biases;  // of the keys of each stage
  int* firsts;    // the first key of each stage, times 2, plus 1 if there are biases; -1: no more keys for these rows

  __device__ explicit Shared(u8* memory) {
    queries = shared_address(memory);
    keys = queries + SLABS * CONSUMERS * kQueryBytes;
    values = keys + DEPTH * kKeyBytes;
    barriers = values + DEPTH * kValueBytes;
    firsts = reinterpret_cast<int*>(memory + (barriers - queries) + 4 * DEPTH * sizeof(u64));
    biases = reinterpret_cast<float*>(firsts + DEPTH);
  }
  __device__ u32 keys_full(int stage) const { return barriers + stage * sizeof(u64); }
  __device__ u32 keys_empty(int stage) const { return keys_full(DEPTH + stage); }
  __device__ u32 values_full(int stage) const { return keys_full(2 * DEPTH + stage); }
  __device__ u32 values_empty(int stage) const { return keys_full(3 * DEPTH + stage); }

  __device__ void make_barriers() const {
    if (threadIdx.x == 0) {
      for (int stage = 0; stage < DEPTH; ++stage) {
        make_barrier(keys_full(stage), SCORE == 2 ? kGroup : 1);
        make_barrier(values_full(stage), 1);
        make_barrier(keys_empty(stage), CONSUMERS * kGroup / (SCORE == 2 ? 1 : kWarp));
        make_barrier(values_empty(stage), CONSUMERS * kGroup / kWarp);
      }
      publish_barriers();
    }
    __syncthreads();
  }
};

// Tells the compiler that all threads of a warp have the same value: matrix instructions take their operands from the
// registers that a warp has in common, and what is computed there costs no instruction of each thread.
inline __device__ int of_warp(int x) { return __shfl_sync(FULL_MASK, x, 0); }

// Barriers by number, for some threads of the block.
inline __device__ void meet(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
inline __device__ void announce(int barrier, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
inline __device__ bool any_of_group(bool mine) {
  int any;
  __syncwarp();
  asm volatile(
      "{.reg .pred mine, any; setp.ne.s32 mine, %1, 0; bar.red.or.pred any, 15, 128, mine; selp.s32 %0, 1, 0, any;}"
      : "=r"(any)
      : "r"(int(mine))
      : "memory");
  return any;
}

// ---- tiles of rows ----

// The `i`th of those that this block computes. Under a causal mask the last rows have most to do: they come first, for
// a section of key heads that the cache has room for, and the round of all blocks turns each time it goes around.
struct Tile {
  u32 number;

  __device__ explicit Tile(int i)
      : number(i * gridDim.x + (CAUSAL && i % 2 != 0 ? gridDim.x - 1 - blockIdx.x : blockIdx.x)) {}
  __device__ bool exists(const AttentionArgs& args) const { return number < args.tiles; }
  __device__ Part part(const AttentionArgs& args) const {
    const u32 splits = SPLIT ? args.splits : 1, split = number % splits;
    const u32 tiles = Part::tiles(args), tile = number / splits;
    if (!CAUSAL) return {args, int(tile / tiles), int(tile % tiles), int(split)};
    const u32 before = tile / (tiles * args.section) * args.section, in_section = tile - before * tiles;
    const u32 section = min(u32(args.section), u32(args.batch * KV_HEADS) - before);
    return {args, int(before + in_section % section), int(tiles - 1 - in_section / section), int(split)};
  }
};

// ---- the producer ----

struct Producer {
  const AttentionArgs& args;
  const TensorMap& keys;
  const TensorMap& values;
  const Shared& shared;
  Position at, values_at;

  static __device__ int batch_of(const Part& part) { return PACKED ? 0 : part.batch; }
  __device__ void load_keys(const Part& part, int first) const {
    const u32 full = shared.keys_full(at.stage()), to = shared.keys + at.stage() * kKeyBytes;
    arrive_expecting(full, kKeyBytes);
    for (int line = 0; line < kHeadLines; ++line)
      load_box(to + line * KEYS * kLineBytes, keys, full, line * kLine, part.first_token + first, part.kv_head,
               batch_of(part));
  }
  __device__ void load_values(const Part& part, int first) {
    wait(shared.values_empty(values_at.stage()), values_at.parity() ^ 1);
    const u32 full = shared.values_full(values_at.stage()), to = shared.values + values_at.stage() * kValueBytes;
    arrive_expecting(full, kValueBytes);
    for (int line = 0; line < kValueLines; ++line)
      load_box(to + line * KEYS * kLineBytes, values, full, line * kLine, part.first_token + first, part.kv_head,
               batch_of(part));
    values_at.advance();
  }

  __device__ void run() {
    if (threadIdx.x % kGroup != 0) return;
    for (int i = 0; Tile(i).exists(args); ++i) {
      const Part part = Tile(i).part(args);
      for (int first = part.begin; first < part.end; first += KEYS) {
        wait(shared.keys_empty(at.stage()), at.parity() ^ 1);
        load_keys(part, first);
        at.advance();
        load_values(part, first);
      }
    }
  }

#if SCORE == 2
  // Each thread computes what is added to the scores of one key, in powers of 2. Tiles of keys that are not seen, at
  // -inf, are left out.
  __device__ void run_with_biases() {
    for (int i = 0; Tile(i).exists(args); ++i) {
      const Part part = Tile(i).part(args);
      for (int first = part.begin; first < part.end; first += KEYS) {
        const int key = first + threadIdx.x % kGroup;
        float bias = minus_infinity();
        if (int(threadIdx.x % kGroup) < KEYS && key < part.end) bias = bias_in_powers(args, part, key);
        if (!any_of_group(bias != minus_infinity())) continue;
        next_stage(first * 2 + any_of_group(bias != 0), bias);
        if (threadIdx.x % kGroup == 0) {
          load_keys(part, first);
          at.advance();
          load_values(part, first);
        } else {
          arrive(shared.keys_full(at.stage()));
          at.advance();
        }
      }
      next_stage(-1, 0);
      arrive(shared.keys_full(at.stage()));
      at.advance();
    }
  }
  __device__ void next_stage(int first_of_stage, float bias) const {
    wait(shared.keys_empty(at.stage()), at.parity() ^ 1);
    if (int(threadIdx.x % kGroup) < KEYS) shared.biases[at.stage() * KEYS + threadIdx.x % kGroup] = bias;
    if (threadIdx.x % kGroup == 0) shared.firsts[at.stage()] = first_of_stage;
  }
#endif
};

// ---- consumers ----

struct Consumer : WarpRows {
  const Shared& shared;
  int tile = 0;         // the one whose scores come next: the `tile`th of this block
  int following;        // the key that it goes on with
  bool biased = false;  // something is added to the scores of the keys that were waited for last
  Position keys, values;
  u32 powers[KEYS / 16][4];

  __device__ Consumer(const AttentionArgs& a, const Shared& s) : WarpRows(a, Tile(0).part(a)), shared(s) {
    load_queries(0);
    enter_tile();
  }

  // ---- who waits for whom ----

  static __device__ int group() { return of_warp(threadIdx.x / kGroup); }
  static __device__ void meet_group() { meet(1 + CONSUMERS + group(), kGroup); }
  static __device__ void await_turn() {
    if (CONSUMERS > 1) meet(1 + group(), 2 * kGroup);
  }
  static __device__ void pass_turn() {
    if (CONSUMERS > 1) announce(1 + (group() + 1) % CONSUMERS, 2 * kGroup);
  }
  // Biases were read by each thread for itself, keys by the warp as one.
  __device__ void release_keys() {
    if (SCORE != 2) __syncwarp();
    if (SCORE == 2 || threadIdx.x % kWarp == 0) arrive(shared.keys_empty(keys.stage()));
    keys.advance();
  }
  __device__ void await_values() const { wait(shared.values_full(values.stage()), values.parity()); }
  __device__ void release_values() {
    __syncwarp();
    if (threadIdx.x % kWarp == 0) arrive(shared.values_empty(values.stage()));
    values.advance();
  }

  // ---- from tile to tile ----

  __device__ u32 queries(int of_tile) const {
    return shared.queries + (of_tile % SLABS * CONSUMERS + group()) * kQueryBytes;
  }
  // The 64 rows of this warpgroup.
  __device__ void load_queries(int of_tile) {
    const Part of = Tile(of_tile).part(args);
    if (PACKED && of.first_row >= of.rows) return;
    constexpr int kUnits = kHeadLines * 8, kStep = kGroup / kUnits;
    const int unit = threadIdx.x % kGroup % kUnits;
    const u32 to = queries(of_tile) + unit / 8 * kGroupRows * kLineBytes;
    const T* from = of.line(args.q, 0) + unit * 8;
    // Where units do not divide the group, its last threads copy what others copy too: leaving them out, by where a
    // thread's lines begin, let the warp reach the barriers behind this loop in parts, and heads of 160 stood still.
#pragma unroll
    for (int line = threadIdx.x % kGroup / kUnits; line < kGroupRows; line += kStep) {
      const int row = min(of.first_row + group() * kGroupRows + line, of.rows - 1);
      copy_16(to + line * kLineBytes + (unit % 8 ^ line % 8) * 16,
              from + of.head(row) * args.q.head + of.query(row) * args.q.token, unit * 8 < HEAD_DIM);
    }
    end_of_copies();
  }
  // Scores come from tile number `tile` from now on; its queries are under way.
  __device__ void enter_tile() {
    following = part.begin;
    state[0][0] = state[0][1] = RowState();
    wait_for_copies<0>();
    publish_to_copies();
    meet_group();  // nor does any warp need the queries of the tile before
    if (SLABS == 2 && Tile(tile + 1).exists(args)) load_queries(tile + 1);
  }
  __device__ bool enter_next_tile() {
    ++tile;
    if (!Tile(tile).exists(args)) return false;
    part = Tile(tile).part(args);
    if (SLABS == 1) {
      meet_group();
      load_queries(tile);
    }
    enter_tile();
    return true;
  }

  // Waits for the next keys of the tile; gives the first, or -1 when there are no more.
  __device__ int await_keys() {
    if (SCORE != 2 && following >= part.end) return -1;
    wait(shared.keys_full(keys.stage()), keys.parity());
    if (SCORE == 2) {
      const int first = shared.firsts[keys.stage()];
      if (first < 0) release_keys();
      biased = first & 1;
      return first >> 1;
    }
    const int first = following;
    following += KEYS;
    return first;
  }
  // The first keys of the next tile that sees any; -1: there is none.
  __device__ int await_next_tile() {
    int first = -1;
    while (first < 0 && enter_next_tile()) first = await_keys();
    return first;
  }

  // ---- the work ----

  // Where the count of stages depends on what is read, the compiler cannot know that a warp has it in common.
  static __device__ u32 stage_of(u32 ring, const Position& at, u32 bytes) {
    const u32 stage = ring + at.stage() * bytes;
    return SCORE == 2 ? of_warp(stage) : stage;
  }

  __device__ void start_scores() {
    const u64 left = describe_along_terms(queries(tile)),
              right = describe_along_terms(stage_of(shared.keys, keys, kKeyBytes));
    start_products();
#pragma unroll
    for (int k = 0; k < HEAD; k += 16) {
      const int line = k / kLine, byte = k % kLine * 2;
      multiply<false>(scores[0], left + (line * kGroupRows * kLineBytes + byte) / 16,
                      right + (line * KEYS * kLineBytes + byte) / 16, k > 0, T());
    }
    commit_products();
  }
  __device__ void start_results() {
    const u64 right = describe_along_results(stage_of(shared.values, values, kValueBytes), KEYS * kLineBytes);
    start_products();
#pragma unroll
    for (int k = 0; k < KEYS / 16; ++k) multiply<true>(results[0], powers[k], right + k * 16 * kLineBytes / 16, 1, T());
    commit_products();
  }
  // Products become exponentials.
  __device__ void finish_scores(int first, bool whole) {
    pin(scores[0]);
    if (SCORE == 2 && !whole) add_biases(shared.biases + keys.stage() * KEYS);
    release_keys();
    if (!whole && (SCORE != 2 || CAUSAL)) score(first);
    soften(SCORE == 2 && !whole ? 1 : score_factor(args));
  }
  __device__ void finish_results() {
    wait_for_products<0>();
    pin(results[0]);
    release_values();
  }
  __device__ void pack_powers() {
#pragma unroll
    for (int k = 0; k < KEYS / 16; ++k) left_of_powers(powers[k], 0, 2 * k);
  }
  // Adds the values of the keys before while the exponentials of the next are computed.
  __device__ void advance(int first, bool whole) {
    await_turn();
    start_scores();
    await_values();
    start_results();
    pass_turn();
    wait_for_products<1>();
    finish_scores(first, whole);
    finish_results();
  }
  __device__ void store_tile(const Part& stored, const RowState (&rows)[2]) {
    store_row(stored, 0, 0, rows[0]);
    store_row(stored, 0, 1, rows[1]);
    clear_results();
  }
  // Tiles that see no keys.
  __device__ void store_zeros(int from, int to) {
    for (int which = from; which < to; ++which) store_tile(Tile(which).part(args), {});
  }

  __device__ bool is_whole(int first) const {
    if (SCORE == 2 && !CAUSAL) return !biased;
    return !biased && needs_no_score(first, part.first_row + group() * kGroupRows);
  }

  // A loop for each kind of keys, as tight as it can be: here the time goes.
  __device__ void finish_tile() {
    const auto step = [&](int first, bool whole) {
      advance(first, whole);
      rescale_results();
      pack_powers();
    };
    int first = await_keys();
    for (; first >= 0 && is_whole(first); first = await_keys()) step(first, true);
    for (; first >= 0; first = await_keys()) step(first, false);
  }

  __device__ void run() {
    int first = await_keys();
    if (first < 0) first = await_next_tile();
    store_zeros(0, tile);
    if (first < 0) return;
    start_scores();
    wait_for_products<0>();
    finish_scores(first, is_whole(first));
    pack_powers();
    if (group() == CONSUMERS - 1) pass_turn();
    while (first >= 0) {
      finish_tile();
      const int done = tile;
      const RowState rows[2] = {state[0][0], state[0][1]};
      first = await_next_tile();
      if (first < 0) {
        await_values();
        start_results();
        finish_results();
      } else if (is_whole(first)) {
        advance(first, true);
      } else {
        advance(first, false);
      }
      store_tile(Tile(done).part(args), rows);
      store_zeros(done + 1, tile);
      pack_powers();
    }
  }
};

template <int REGISTERS>
inline __device__ void take_registers() {
  if constexpr (REGISTERS > 0) asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}
template <int REGISTERS>
inline __device__ void give_registers() {
  if constexpr (REGISTERS > 0) asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    ENTRY(const __grid_constant__ AttentionArgs args, const __grid_constant__ TensorMap keys,
          const __grid_constant__ TensorMap values) {
  extern __shared__ __align__(1024) u8 memory[];
  const Shared shared(memory);
  let_next_kernel_start();
  if (threadIdx.x == CONSUMERS * kGroup) {
    prefetch_map(keys);
    prefetch_map(values);
  }
  shared.make_barriers();
  await_kernels_before();
#if PACKED
  keep_starts(args);
#endif
  if (threadIdx.x >= CONSUMERS * kGroup) {
    give_registers<PRODUCER_REGISTERS>();
    Producer producer{args, keys, values, shared, {}, {}};
#if SCORE == 2
    producer.run_with_biases();
#else
    producer.run();
#endif
  } else {
    take_registers<CONSUMER_REGISTERS>();
    Consumer(args, shared).run();
  }
}
