// Arguments of the data-movement kernels, shared between host and device. Elements are moved in units of 1, 2, 4, 8 or
// 16 bytes: the widest that sizes, strides and addresses allow; all sizes and strides here count units.
#pragma once

constexpr int kMoveThreads = 256;
constexpr int kMoveItems = 4;  // units of one thread: that many loads are in flight before the first store
constexpr int kMoveMaxRank = 8;
constexpr int kConcatMaxInputs = 64;  // of one launch

// A divisor with the constants that turn division of numbers below 2^31 into a multiplication.
struct Divisor {
  unsigned multiplier, shift;
  unsigned long long value;
};

// y[i] = x[offset of i]; axes merged, outermost first.
struct CopyArgs {
  const void* x;
  void* y;
  unsigned long long total;  // units of y
  int unit, rank;
  Divisor sizes[kMoveMaxRank];
  long long strides[kMoveMaxRank];  // of x
};

// Rows that consist of one piece per input.
struct ConcatArgs {
  const void* inputs[kConcatMaxInputs];
  unsigned long long starts[kConcatMaxInputs + 1];  // of the pieces in a row
  void* y;
  unsigned long long total;  // units that this launch writes
  unsigned long long pitch;  // from row to row of y; more than `row` when a launch writes some of the columns
  int unit, count;
  Divisor row;
};

enum class PadKind : int { constant, reflect, edge, wrap };

struct PadArgs {
  const void* x;
  void* y;
  const void* fill;  // one element; null for zeros
  unsigned long long total;
  int unit, rank, element_bytes;
  PadKind kind;
  Divisor sizes[kMoveMaxRank];                                                  // of y
  long long limits[kMoveMaxRank], begins[kMoveMaxRank], strides[kMoveMaxRank];  // of x
};

// Transposes the planes that x's innermost axis (`columns`) and y's innermost axis (`rows`) span.
struct TransposeArgs {
  const void* x;
  void* y;
  unsigned long long tiles;
  unsigned long long rows, columns, row_stride, column_stride;  // elements: x walks rows, y walks columns
  Divisor row_tiles, column_tiles;
  int rank;  // of the other axes
  Divisor sizes[kMoveMaxRank];
  long long x_strides[kMoveMaxRank], y_strides[kMoveMaxRank];
};

struct GatherArgs {
  const void* x;
  const void* indices;
  void* y;
  unsigned long long total;
  long long limit;  // elements along the axis
  int unit, wide_indices;
  Divisor inner, count;
};

// One index per element: GatherElements reads, ScatterElements writes where the index says. Axes of the indices.
struct ElementsArgs {
  const void* x;
  const void* indices;
  void* y;
  unsigned long long total;
  long long limit, axis_stride;
  int unit, wide_indices, rank;
  Divisor sizes[kMoveMaxRank];
  long long strides[kMoveMaxRank];  // of the tensor that is indexed; 0 along the axis
};

// One row of `depth` indices per slice: GatherNd reads, ScatterNd writes slices of the tensor that is indexed.
struct SlicesArgs {
  const void* x;
  const void* indices;
  void* y;
  unsigned long long total;
  unsigned long long batch_stride;
  int unit, wide_indices, depth;
  Divisor slice, rows_per_batch;
  long long limits[kMoveMaxRank], strides[kMoveMaxRank];
};

struct ReverseSequenceArgs {
  const void* x;
  const void* lengths;
  void* y;
  unsigned long long total;
  int unit, wide_lengths;
  Divisor time_stride, times, batch_stride, batches;
};

constexpr int kDimsMaxValues = 128;  // of one launch
struct DimsArgs {
  void* y;
  int count;
  long long values[kDimsMaxValues];
};
