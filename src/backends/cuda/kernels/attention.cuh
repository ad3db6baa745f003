// What the attention kernels share. The query heads that read one key head are folded into the rows: row r of a key
// head is query r / group of its head r % group, so that grouped heads read keys and values once. A block computes ROWS
// rows of one (batch, key head), over one part of the keys when these are split.
//
// Definitions, besides those of attention_softmax.cuh: KV_HEADS, GROUP query heads for each; HEAD_DIM, VALUE_DIM; ROWS,
// KEYS of a tile; CAUSAL, SCORE, SPLIT, K_TRANSPOSED, V_TRANSPOSED (0 or 1); EXTRA_AXES, four bits per extra operand:
// it varies along key (1), query (2), head (4), batch (8).
//
// PACKED (0 or 1): the batch is the sequences that lie one after the other in a row of tokens. Their lengths are read
// here, so that a recording serves all batches of a size: blocks are launched for the longest that there may be, and
// those beyond the end of their sequence have nothing to do. Nothing is read outside of the tokens, whatever `starts`
// holds.
#pragma once

#include "attention_args.h"
#include "attention_softmax.cuh"
#if SCORE
#include "map_ops.cuh"
#include "program.cuh"
#endif
// ---- which part of the problem a block computes ----

// KEEP_STARTS: blocks that go from tile to tile look up sequences all the time, in shared memory once it is filled.
#if PACKED && KEEP_STARTS
inline __device__ int* kept_starts() {
  __shared__ int starts[kKeptStarts];
  return starts;
}
inline __device__ void keep_starts(const AttentionArgs& args) {
  for (int i = threadIdx.x; i <= args.batch && i < kKeptStarts; i += THREADS) kept_starts()[i] = args.starts[i];
  __syncthreads();
}
#endif

struct Part;
inline __device__ int visible_keys(const AttentionArgs& args, const Part& part, int query);

#if PACKED
inline __device__ int start_of(const AttentionArgs& args, int sequence) {
#if KEEP_STARTS
  if (sequence < kKeptStarts) return kept_starts()[sequence];
#endif
  return args.starts[sequence];
}
#endif

struct Part {
  int batch, kv_head;
  int first_row, rows;  // of the tile; rows of the key head altogether
  int split;            // which part of the keys
  int begin, end;       // keys
  int first_token = 0;  // PACKED: of the sequence

  // Tile number `tile` of the rows of a (batch, key head).
  __device__ Part(const AttentionArgs& args, int pair, int tile, int which)
      : batch(pair / KV_HEADS),
        kv_head(pair % KV_HEADS),
        first_row(tile * ROWS),
        rows(args.queries * GROUP),
        split(SPLIT ? which : 0),
        begin(split * args.keys_per_split),
        end(SPLIT ? min(args.keys, begin + args.keys_per_split) : args.keys) {
#if PACKED
    first_token = min(max(start_of(args, batch), 0), args.tokens);
    end = min(max(start_of(args, batch + 1), first_token), args.tokens) - first_token;
    end = min(end, args.keys);
    rows = end * GROUP;
    if (first_row >= rows) end = 0;
#endif
    end = visible_keys(args, *this, query(min(first_row + ROWS, rows) - 1));
  }
  static __device__ int tiles(const AttentionArgs& args) { return (args.queries * GROUP + ROWS - 1) / ROWS; }
  // Of a block that computes one. The last rows first: under a causal mask they have most to do.
  static __device__ Part of_block(const AttentionArgs& args) {
    const int tiles = Part::tiles(args), block = blockIdx.x;
    return {args, block / tiles, tiles - 1 - block % tiles, int(blockIdx.y)};
  }
  static __device__ int query(int row) { return row / GROUP; }
  // How many tokens there are to read.
  __device__ int keys(const AttentionArgs& args) const { return PACKED ? rows / GROUP : args.keys; }
  __device__ int head(int row) const { return kv_head * GROUP + row % GROUP; }

  __device__ const T* line(const AttentionView& view, int head) const {
    return static_cast<const T*>(view.data) + (PACKED ? first_token * view.token : batch * view.batch) +
           head * view.head;
  }
};

// The rows of a part, from wherever their queries lie.
template <int WIDTH, int PITCH>
inline __device__ void load_queries(T* tile, const AttentionArgs& args, const Part& part) {
  const T* first = part.line(args.q, 0);
  load_tile<ROWS, WIDTH, PITCH>(
      tile,
      [&](int line) {
        const int row = part.first_row + line;
        return first + part.head(row) * args.q.head + part.query(row) * args.q.token;
      },
      part.rows - part.first_row, HEAD_DIM);
}

// ---- scores ----

// SCORE: 0 where the product times args.scale is the score, 1 where the program makes the score of the product, 2 where
// it gives for each key what is added to the score.
// A position in [batch, heads, queries, keys].
struct ScorePosition {
  int batch, head, query, key;
  __device__ i64 iota(int axis_from_end, int element) const {
    return axis_from_end == -1 ? key + element : axis_from_end == -2 ? query : axis_from_end == -3 ? head : batch;
  }
};

inline __device__ ScorePosition position_of(const Part& part, int head, int query, int key) {
  if (PACKED) return {0, head, part.first_token + query, part.first_token + key};
  return {part.batch, head, query, key};
}

#if SCORE
struct ExtraReader {
  const AttentionArgs& args;
  const ScorePosition& at;
  template <class E, int N>
  __device__ Pack<E, N> load(int input) const {
    const int extra = input - 1, axes = (EXTRA_AXES >> (4 * extra)) & 15;
    const long long* strides = args.extra_strides[extra];
    i64 offset = 0;
    if (axes & 8) offset += at.batch * strides[0];
    if (axes & 4) offset += at.head * strides[1];
    if (axes & 2) offset += at.query * strides[2];
    if (axes & 1) offset += at.key * strides[3];
    Pack<E, N> pack;
    pack[0] = static_cast<const E*>(args.extras[extra])[offset];
    return pack;
  }
};
#endif

#if SCORE == 2
inline __device__ float key_bias(const AttentionArgs& args, const ScorePosition& at) {
  Program::Registers registers[1];
  Program::read<1, 1>(ExtraReader{args, at}, registers);
  registers[0].x0 = 0;
  return float(Program::evaluate(registers[0], at, 0, args.dims));
}
#endif

// The score of a product q.k, up to the factor score_factor(). Positions must be valid.
inline __device__ float score_of(const AttentionArgs& args, const ScorePosition& at, float product) {
#if SCORE == 1
  Program::Registers registers[1];
  Program::read<1, 1>(ExtraReader{args, at}, registers);
  registers[0].x0 = product * args.scale;
  // In powers of 2. A finite number stays finite: rows that see no other keys depend on it.
  constexpr float kLowest = -3.402823466e38f, kLowestPower = -2.35e38f;
  const float score = float(Program::evaluate(registers[0], at, 0, args.dims));
  return (score >= kLowest ? fmaxf(score, kLowestPower) : score) * kLog2e;
#else
  return product;
#endif
}
// Exponentials are powers of 2 of the score times this.
inline __device__ float score_factor(const AttentionArgs& args) { return SCORE == 1 ? 1 : args.scale * kLog2e; }

// The keys before this one are seen by a query; those from there on are not.
inline __device__ int visible_keys(const AttentionArgs& args, const Part& part, int query) {
  if (!CAUSAL) return part.end;
  return max(0, min(query + args.causal_offset + 1, part.end));
}

// ---- results ----

// SPLIT: after [split][row of all][VALUE_DIM] sums come [split][row of all] pairs of the largest score in powers of 2
// and the sum of the exponentials.
struct PartialRow {
  float* sums;
  float* state;

  __device__ PartialRow(const AttentionArgs& args, int split, i64 row) {
    const i64 rows = i64(args.batch) * KV_HEADS * GROUP * args.queries;
    sums = args.partial + (split * rows + row) * VALUE_DIM;
    state = args.partial + args.splits * rows * VALUE_DIM + (split * rows + row) * 2;
  }
};

inline __device__ i64 row_of_all(const AttentionArgs& args, const Part& part, int row) {
  return (i64(part.batch) * KV_HEADS + part.kv_head) * part.rows + row;
}

inline __device__ T* result_row(const AttentionArgs& args, const Part& part, int row) {
  return const_cast<T*>(part.line(args.y, part.head(row))) + part.query(row) * args.y.token;
}
