// How the kernels for attention over a paged cache are cut. Nothing depends on the sizes of a step, so that a sequence
// is computed alike whatever else is in it.
#pragma once

#include <string>
#include <vector>

#include "graph/op.h"

namespace lathe::cuda {

// Keys of a part where a sequence has one new token: a tile, few enough to be under way together and to fill the chip
// with short contexts, enough to repay joining the parts.
inline constexpr int64_t kPagedSplitKeys = 64;

struct PagedTiling {
  bool decode;
  int64_t rows, keys;
  int threads, tiles;   // tiles: of 16 rows per warp
  int64_t head, value;  // features of a head, padded
  size_t shared_bytes;

  std::vector<std::string> defines(bool alone = false) const;  // `alone`: ALONE of paged_attention.cu
};

// On tensor cores, for sequences with one new token, and for the others.
PagedTiling paged_decode_tiling(const PagedAttention& op);
PagedTiling paged_chunk_tiling(const PagedAttention& op);

struct PagedTypes {
  DType type, cache;
  bool prefix, slopes;
  int64_t distances;  // of biases; 0: none
  bool cross, sinks;
  bool uniform = false;  // BackendOptions::uniform_rows
};
// What all kernels of the family want defined, but for THREADS and VECTOR.
std::vector<std::string> paged_defines(const PagedAttention& op, const PagedTypes& types);

}  // namespace lathe::cuda
