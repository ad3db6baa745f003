// Arguments of the kernels that select elements, shared between host and device.
#pragma once

#include "movement_args.h"

constexpr int kTopKThreads = 1024;
constexpr int kTopKSortAll = 256;  // rows of up to so many elements are sorted as a whole

struct TopKArgs {
  const void* x;
  void* values;
  long long* indices;
  void* keys;       // scratch, for lists too long for shared memory: `padded` keys, then as many positions, per row
  long long inner;  // elements from one to the next along the axis
  unsigned n, k;    // elements along the axis, and how many are wanted
  unsigned kept;    // elements that are sorted: k, or all of a short row
  unsigned padded;  // kept, rounded up to a power of two
  int largest, in_shared;
};

constexpr int kCountThreads = 256;
constexpr int kCountRounds = 16;  // of one block, kCountThreads elements each

struct NonZeroArgs {
  const void* x;
  unsigned long long* counts;  // by block: how many; after the scan, how many in the blocks before
  long long* positions;        // null while counting
  unsigned long long n, total;
  int rank;
  Divisor sizes[kMoveMaxRank];
};

constexpr int kScanThreads = 1024;

// In place: each count becomes the sum of those before it; the sum of all goes to counts[n].
struct ScanArgs {
  unsigned long long* counts;
  unsigned long long n;
};

constexpr int kPackThreads = 1024;

struct PackTokensArgs {
  const void* mask;  // [batch, length]
  int* tokens;       // [size]
  int* starts;       // [batch + 2]
  int* rows;         // [batch, length]
  int batch, length, size;
  int kept, keep_first;
};

constexpr int kNmsThreads = 512;

struct NmsArgs {
  const void* boxes;   // [batch, n, 4]
  const void* scores;  // [batch, classes, n]
  // Scratch per class of every image: keys and positions in order of score, bits of those suppressed, those selected.
  unsigned long long* keys;
  unsigned* order;
  unsigned* removed;
  unsigned* selected;
  unsigned long long* counts;
  long long* result;  // null while selecting
  unsigned n, padded, limit, classes;
  int center_point, has_threshold;
  double iou_threshold, score_threshold;
};
