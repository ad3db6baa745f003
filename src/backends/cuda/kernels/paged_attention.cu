// Attention over a paged cache on tensor cores, f16 or bf16 throughout, fp32 accumulation: keys and values pass through
// shared memory, copied asynchronously from wherever their blocks lie, or widened on the way where they have 8 bits.
// DECODE: the sequences with one new token, each part of their keys a tile of one warp, which takes one part after the
// other while the next is on its way; else all others, ROWS rows of a key head to a block. Each leaves the rest to the
// other kernel. Floor: the bytes of keys and values over the bandwidth (DECODE), 4 * rows * keys * head size flops over
// the tensor peak.
//
// ALONE: of a step with one token and one sequence, whose query and key are turned here (rotary.cuh), and whose key and
// value are stored here as well: decoding one sequence, where each launch costs as much as what it does. What the cache
// holds already is then asked for before the kernel waits, if the host knows that all who wrote it are complete.
#include "attention_warp.cuh"
#include "paged_attention.cuh"
#include "paged_store_args.h"
#if ALONE
#include "rotary.cuh"
#endif

static_assert(ROWS == THREADS / kWarp * TILES * 16);
static_assert(!DECODE || (KEYS == SPLIT_KEYS && THREADS == kWarp));
static_assert(!ALONE || (DECODE && !CROSS && !kScaledRows && HEAD == HEAD_DIM && VALUE_DIM <= kWarp * VECTOR));
constexpr int kQueryPitch = HEAD + 8, kKeyPitch = HEAD + 8, kValuePitch = VALUE + 8;  // odd numbers of 16-byte units

// What a block computes: blockIdx.x counts tiles, y key heads, z the parts that are taken at a time.
struct Part {
  Sequence sequence;
  int kv_head, first_row, rows;  // of the tile; rows of the key head altogether
  int split, splits;
  int begin, end;          // keys
  int row_begin, row_end;  // of all parts

  // Tiles of a sequence are numbered from place(s) on, which leaves room for them all.
  static __device__ int place(const PagedAttentionArgs& args, int s) { return args.starts[s] * GROUP / ROWS + s; }
  static __device__ int find(const PagedAttentionArgs& args) {
    constexpr int kTiles = (GROUP + ROWS - 1) / ROWS;
    if (DECODE) return blockIdx.x / kTiles;
    return find_sequence(args, blockIdx.x, [&](int s) { return place(args, s); });
  }

  __device__ Part(const PagedAttentionArgs& args)
      : sequence(args, find(args)), kv_head(blockIdx.y), rows(sequence.tokens * GROUP), split(blockIdx.z) {
    constexpr int kTiles = (GROUP + ROWS - 1) / ROWS;
    first_row = ROWS * (DECODE ? blockIdx.x % kTiles : blockIdx.x - place(args, sequence.number));
    begin = end = 0;
    splits = 1;
    if (sequence.is_split() != bool(DECODE) || first_row >= rows) return;
    begin = row_begin = sequence.first_key(index(first_row));
    end = row_end = sequence.end_key(args, index(min(first_row + ROWS, rows) - 1));
    if (!DECODE) return;
    splits = Splits(begin, end).count;
    move_to(split);
  }
  // Where there is no such part, it has no keys.
  __device__ void move_to(int next) {
    const int first = row_begin / SPLIT_KEYS + next;
    split = next;
    begin = max(row_begin, first * SPLIT_KEYS);
    end = min(row_end, (first + 1) * SPLIT_KEYS);
  }
  // Keys from here on are not in the cache yet.
  __device__ int cached_end() const { return ALONE ? min(end, row_end - 1) : end; }
  __device__ bool has_new_key() const { return ALONE && end == row_end; }
  __device__ int token(int row) const { return row / GROUP; }
  __device__ int index(int row) const { return sequence.index(token(row)); }
  __device__ int head(int row) const { return kv_head * GROUP + row % GROUP; }
};

inline __device__ void load_rows(T* tile, const PagedAttentionArgs& args, const Part& part) {
  load_tile<ROWS, HEAD, kQueryPitch>(
      tile,
      [&](int line) {
        const int row = part.first_row + line;
        return static_cast<const T*>(args.q) + (part.sequence.start + part.token(row)) * args.q_row +
               part.head(row) * args.q_stride;
      },
      part.rows - part.first_row, HEAD_DIM);
}

// KEYS rows of a cache from key `first` on; those that it does not have, which may hold anything, become 0. block_of(key) is
// the number of a key's block.
template <int WIDTH, int PITCH, int FEATURES, class BlockOf>
inline __device__ void load_cached(T* tile, const Part& part, const void* cache, int first, const BlockOf& block_of) {
  const auto head = [&](int key) {
    return cached_head(static_cast<const Cache*>(cache), block_of(key), part.kv_head, FEATURES);
  };
  const auto row = [&](int line) {
    const int key = first + line;
    return head(key) + key % BLOCK_SIZE * FEATURES;
  };
  if constexpr (!kScaledRows) {
    load_tile<KEYS, WIDTH, PITCH>(tile, row, part.cached_end() - first, FEATURES);
  } else {
    constexpr int kPacks = WIDTH / VECTOR;
#pragma unroll 4
    for (int i = threadIdx.x; i < KEYS * kPacks; i += THREADS) {
      const int line = i / kPacks, column = i % kPacks * VECTOR;
      Pack<T, VECTOR> wide;
      if (first + line < part.end && column < FEATURES) {
        const float scale = cached_scale(head(first + line), first + line, FEATURES);
        const auto narrow = load_pack<VECTOR>(row(line) + column);
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) wide[e] = from_float<T>(cached_to_float(narrow[e]) * scale);
      } else {
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) wide[e] = from_float<T>(0);
      }
      store_pack<VECTOR>(tile + line * PITCH + column, wide);
    }
  }
  end_of_copies();
}

struct Warp : WarpTile {
  const PagedAttentionArgs& args;
  const Part& part;

  __device__ Warp(const PagedAttentionArgs& a, const Part& p) : args(a), part(p) { start(); }

  // What the part that the object refers to begins with.
  __device__ void start() {
    clear_results();
#pragma unroll
    for (int m = 0; m < TILES; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = min(part.first_row + row_in_tile(m, half), part.rows - 1);
        state[m][half] = first_state(args, part.head(row), part.split, threadIdx.x % 4 == 0);
      }
  }

  // True when products are scores and every row of the tile sees all keys of a tile.
  __device__ bool needs_no_score(int first) const {
    if (kScored) return false;
    const int last = part.index(min(part.first_row + ROWS, part.rows) - 1);
    return first >= part.sequence.first_key(last) &&
           first + KEYS <= min(part.end, part.sequence.end_key(args, part.index(part.first_row)));
  }

  __device__ void score(int first) {
#pragma unroll
    for (int m = 0; m < TILES; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = min(part.first_row + row_in_tile(m, half), part.rows - 1), index = part.index(row);
        const int from = part.sequence.first_key(index), to = min(part.end, part.sequence.end_key(args, index));
        const PositionTerm term(args, part.head(row));
#pragma unroll
        for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const int key = first + column_in_tile(n) + i;
            float& s = scores[m][n][2 * half + i];
            s = key < from || key >= to ? minus_infinity() : score_of(args, s, term, key, index);
          }
      }
  }

  __device__ void store() const {
#pragma unroll
    for (int m = 0; m < TILES; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) store_row(m, half, state[m][half]);
  }

  __device__ void store_row(int m, int half, RowState state) const {
    state.sum += __shfl_xor_sync(FULL_MASK, state.sum, 1);
    state.sum += __shfl_xor_sync(FULL_MASK, state.sum, 2);
    const int row = part.first_row + row_in_tile(m, half);
    if (row >= part.rows) return;
    const bool partial = part.splits > 1;
    const PartialRow to(args, part.sequence.number, part.head(row), part.split);
    T* y = result_row(args, part.sequence.start + part.token(row), part.head(row));
    const float scale = partial ? 1 : state.scale_of_result();
    if (partial && threadIdx.x % 4 == 0) {
      to.state[0] = RowState::base(state.largest);
      to.state[1] = state.sum;
    }
#pragma unroll
    for (int n = 0; n < kValueTiles; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int column = column_in_tile(n) + i;
        const float value = results[m][n][2 * half + i] * scale;
        if (column >= VALUE_DIM) continue;
        if (partial)
          to.sums[column] = value;
        else
          y[column] = from_float<T>(value);
      }
  }
};

// Of the heads that the tile has rows of, once `done` more of their parts are stored. Counters for ALONE are 0 between
// kernels.
inline __device__ void join_heads(const PagedAttentionArgs& args, const Part& part, int done) {
  if (part.splits == 1) return;
  const int head = part.head(part.first_row);
  int* const arrived = ALONE ? args.counters + head : PartialRow(args, part.sequence.number, head, 0).arrived;
  if (!completes_parts(arrived, done, part.splits)) return;
  if (ALONE && threadIdx.x == 0) *arrived = 0;
  for (int row = part.first_row; row < min(part.first_row + ROWS, part.rows); ++row)
    join_parts(args, part.sequence, part.head(row), part.splits);
}

#if ALONE
using Args = PagedStoreArgs;
inline __device__ const PagedAttentionArgs& attention_of(const Args& args) { return args.attention; }
inline __device__ bool is_early(const Args& args) { return args.early; }

// Turns queries into their tile, or without QUERIES only what is new: where the part ends with the new key, that is
// turned too, and with its value stored in both cache and tile.
template <bool QUERIES>
inline __device__ void load_new(const Args& all, const Part& part, T* queries, T* keys, T* values) {
  const PagedAttentionArgs& args = all.attention;
  const int lane = threadIdx.x, index = part.row_end - 1, line = index - part.begin;
  const int rows = QUERIES ? min(part.rows - part.first_row, ROWS) : 0, threads = int(rotary_threads(all.keys));
  const bool has_key = part.has_new_key(), stores = has_key && part.first_row == 0;
  const auto cached = [&](void* cache, int features) {
    return cached_head(args, static_cast<Cache*>(cache), part.sequence.number, index, part.kv_head, features) +
           index % BLOCK_SIZE * features;
  };
  Pack<T, VECTOR> value;
  const bool has_value = has_key && lane * VECTOR < VALUE_DIM;
  if (has_value)
    value = load_pack<VECTOR>(static_cast<const T*>(args.v) + part.kv_head * args.v_stride + lane * VECTOR);
  if (has_key) wait_for_copies<0>();
  __syncwarp();
  for (int i = lane; i < (rows + has_key) * threads; i += kWarp) {
    const int row = i / threads;
    const bool is_key = row == rows;
    const Turned turned = turn(is_key ? all.keys : all.queries,
                               is_key ? part.kv_head : part.head(part.first_row + row), i % threads);
    const auto store = [&](T* to) {
      store_pack<VECTOR>(to + turned.low_at, turned.low);
      store_pack<VECTOR>(to + turned.high_at, turned.high);
    };
    store(is_key ? keys + line * kKeyPitch : queries + row * kQueryPitch);
    if (is_key && stores) store(cached(args.key_cache, HEAD_DIM));
  }
  if (has_value) store_pack<VECTOR>(values + line * kValuePitch + lane * VECTOR, value);
  if (has_value && stores) store_pack<VECTOR>(cached(args.value_cache, VALUE_DIM) + lane * VECTOR, value);
  __syncwarp();
}

// The rows of a token that belongs to no sequence.
inline __device__ void clear_result(const PagedAttentionArgs& args, const Part& part) {
  if (part.sequence.tokens > 0 || blockIdx.x > 0 || blockIdx.z > 0) return;
  T* y = result_row(args, 0, part.kv_head * GROUP);
  for (int i = threadIdx.x; i < GROUP * VALUE_DIM; i += kWarp) y[i] = from_float<T>(0);
}
#else
using Args = PagedAttentionArgs;
inline __device__ const PagedAttentionArgs& attention_of(const Args& args) { return args; }
inline __device__ bool is_early(const Args&) { return false; }
template <bool QUERIES>
inline __device__ void load_new(const Args&, const Part&, T*, T*, T*) {}
inline __device__ void clear_result(const PagedAttentionArgs&, const Part&) {}
#endif

// Every gridDim.z-th part from `part` on.
inline __device__ void attend_parts(const Args& all, Part part, T* queries, T* keys, T* values) {
  const PagedAttentionArgs& args = attention_of(all);
  __shared__ int blocks[KEYS / BLOCK_SIZE + 2];
  Part next = part;  // whose keys and values are on their way
  const auto block_of = [&](int key) { return blocks[key / BLOCK_SIZE - next.begin / BLOCK_SIZE]; };
  const auto load_keys = [&] {
    const int first = next.begin / BLOCK_SIZE, count = (next.end - 1) / BLOCK_SIZE - first + 1;
    for (int i = threadIdx.x; i < count; i += THREADS)
      blocks[i] = cached_block(args, part.sequence.number, (first + i) * BLOCK_SIZE);
    __syncwarp();
    load_cached<HEAD, kKeyPitch, HEAD_DIM>(keys, next, args.key_cache, next.begin, block_of);
  };
  const auto load_values = [&] {
    load_cached<VALUE, kValuePitch, VALUE_DIM>(values, next, args.value_cache, next.begin, block_of);
  };
  if (!ALONE) load_rows(queries, args, part);
  load_keys();
  load_values();
  if (is_early(all)) await_kernels_before();
  load_new<true>(all, part, queries, keys, values);
  Warp warp(args, part);
  for (int done = 1;; ++done) {
    wait_for_copies<1>();
    __syncwarp();
    warp.multiply_keys<false>(queries, kQueryPitch, keys, kKeyPitch);
    __syncwarp();
    next.move_to(part.split + gridDim.z);
    const bool more = next.begin < next.end;
    if (more)
      load_keys();
    else
      end_of_copies();
    if (!warp.needs_no_score(part.begin)) warp.score(part.begin);
    warp.soften(score_factor(args));
    wait_for_copies<1>();
    __syncwarp();
    warp.add_values<false>(values, kValuePitch);
    warp.store();
    if (!more) return join_heads(args, part, done);
    __syncwarp();
    load_values();
    part = next;
    load_new<false>(all, part, queries, keys, values);
    warp.start();
  }
}

inline __device__ void attend(const PagedAttentionArgs& args, const Part& part, T* queries, T* keys, T* values) {
  const auto block_of = [&](int key) { return cached_block(args, part.sequence.number, key); };
  const auto load_keys = [&](int first) {
    load_cached<HEAD, kKeyPitch, HEAD_DIM>(keys, part, args.key_cache, first, block_of);
  };
  Warp warp(args, part);
  load_rows(queries, args, part);
  load_keys(part.begin);
  for (int first = part.begin; first < part.end; first += KEYS) {
    wait_for_copies<0>();
    __syncthreads();
    load_cached<VALUE, kValuePitch, VALUE_DIM>(values, part, args.value_cache, first, block_of);
    warp.multiply_keys<false>(queries, kQueryPitch, keys, kKeyPitch);
    wait_for_copies<0>();
    __syncthreads();
    if (first + KEYS < part.end) load_keys(first + KEYS);
    if (!warp.needs_no_score(first)) warp.score(first);
    warp.soften(score_factor(args));
    warp.rescale_results();
    warp.add_values<false>(values, kValuePitch);
  }
  warp.store();
}

extern "C" __global__ void __launch_bounds__(THREADS, DECODE ? 8 : 1)
    ENTRY(const __grid_constant__ Args all) {
  const PagedAttentionArgs& args = attention_of(all);
  let_next_kernel_start();
  if (!is_early(all)) await_kernels_before();
  extern __shared__ __align__(16) u8 memory[];
  T* queries = reinterpret_cast<T*>(memory);
  T* keys = queries + ROWS * kQueryPitch;
  T* values = keys + KEYS * kKeyPitch;
  const Part part(args);
  if (part.begin >= part.end) {
    if (is_early(all)) await_kernels_before();
    return clear_result(args, part);
  }
  if constexpr (DECODE)
    attend_parts(all, part, queries, keys, values);
  else
    attend(args, part, queries, keys, values);
}
