// The single-threaded parts of attention over a paged cache that read the cache where it lies, widened on the way: for
// a few query rows, where gathering keys and values into panels does not pay. paged_attention.h has the driver;
// attention_kernels.h has what lies between scores and weights.
#pragma once

#include <cstdint>

namespace lathe::cpu {

// Rows of a cache that lie one after the other.
struct CachedRows {
  const void* rows;
  int64_t count, width;  // rows, and elements of each
  const void* next;      // as many rows that will be read after these; they are fetched meanwhile
};

inline constexpr int kPagedMaxRows = 8;

// For one type of cache, by number of query rows, 1 to kPagedMaxRows.
struct CachedRowKernels {
  // scores[r*ld + j] = dot(q + r*width, row j)
  void (*dots[kPagedMaxRows + 1])(const CachedRows& keys, const float* q, float* scores, int64_t ld) noexcept;
  // sums[r*ld_sums + d] += sum over j of weights[r*ld + j] * (row j)[d]
  void (*weigh[kPagedMaxRows + 1])(const CachedRows& values, const float* weights, int64_t ld, float* sums,
                                   int64_t ld_sums) noexcept;
};

// For the types whose rows have scales (CacheRows in graph/paged_cache.h). Scores and weights are multiplied by
// those, so that reading a row only widens it.
struct ScaledRowKernels {
  CachedRowKernels rows;
  // n numbers without their scale.
  void (*widen)(const void* from, int64_t n, float* to) noexcept;
  // Returns the scale.
  float (*narrow)(const float* from, int64_t n, void* to) noexcept;
};

struct PagedAttentionKernels {
  CachedRowKernels f32, f16, bf16;
  ScaledRowKernels i8, f8e4m3;
  // scores[i] *= scales[i]
  void (*multiply)(float* scores, const float* scales, int64_t n) noexcept;
  // scores[i] += slope * (first + i)
  void (*add_slope)(float* scores, int64_t n, float slope, float first) noexcept;
};

}  // namespace lathe::cpu
