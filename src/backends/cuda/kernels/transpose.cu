// Transposes planes through shared memory: tiles of TILE x TILE elements are read along x's innermost axis and written
// along y's, both in whole words. Elements of less than 4 bytes travel PACK to a word (both sizes must then be
// multiples of PACK), and are exchanged between the words of a thread: rows of the tile are stored so that the PACK
// rows that make a word of y are kWarp rows apart, which keeps shared memory free of bank conflicts.
// ELEMENT: bytes; PACK: elements of a word (1 for elements of 4 bytes and more).
#include "movement.cuh"

template <int Bytes>
struct WordOf;
template <>
struct WordOf<1> {
  using type = u8;
};
template <>
struct WordOf<2> {
  using type = u16;
};
template <>
struct WordOf<4> {
  using type = u32;
};
template <>
struct WordOf<8> {
  using type = u64;
};
template <>
struct WordOf<16> {
  using type = Unit16;
};

using Word = WordOf<ELEMENT * PACK>::type;
constexpr int kTile = kWarp * PACK;
constexpr int kWarps = kMoveThreads / kWarp;

#if PACK > 1
// Word `at` of the transposed PACK x PACK block that `words` hold, one row each.
inline __device__ u32 transposed_word(const u32 (&words)[PACK], int at) {
  constexpr int kBits = ELEMENT * 8;
  u32 result = 0;
#pragma unroll
  for (int i = 0; i < PACK; ++i) result |= (words[i] >> (at * kBits) & ((1u << kBits) - 1)) << (i * kBits);
  return result;
}
#endif

KERNEL(kMoveThreads, TransposeArgs) {
  __shared__ Word tile[kTile][kWarp + 1];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  INDEX rest = blockIdx.x;
  const u64 column0 = u64(split(rest, args.column_tiles)) * kTile, row0 = u64(split(rest, args.row_tiles)) * kTile;
  i64 x_offset = 0, y_offset = 0;
  for (int axis = args.rank - 1; axis >= 0; --axis) {
    const i64 at = split(rest, args.sizes[axis]);
    x_offset += at * args.x_strides[axis];
    y_offset += at * args.y_strides[axis];
  }
  const Word* x = static_cast<const Word*>(args.x) + (x_offset + i64(column0)) / PACK + lane;
  Word* y = static_cast<Word*>(args.y) + (y_offset + i64(row0)) / PACK + lane;

  constexpr int kRows = kTile / kWarps;  // of one warp
  if (column0 + lane * PACK < args.columns) {
    Word words[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const u64 row = row0 + warp + i * kWarps;
      if (row < args.rows) words[i] = x[row * args.row_stride / PACK];
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = warp + i * kWarps;
      tile[row % PACK * kWarp + row / PACK][lane] = words[i];
    }
  }
  __syncthreads();
  if (row0 + lane * PACK >= args.rows) return;
#pragma unroll
  for (int word = warp; word < kWarp; word += kWarps) {
    const u64 column = column0 + word * PACK;
    if (column >= args.columns) return;
#if PACK == 1
    y[column * args.column_stride] = tile[lane][word];
#else
    u32 words[PACK];
#pragma unroll
    for (int i = 0; i < PACK; ++i) words[i] = tile[i * kWarp + lane][word];
#pragma unroll
    for (int i = 0; i < PACK; ++i) y[(column + i) * args.column_stride / PACK] = transposed_word(words, i);
#endif
  }
}
