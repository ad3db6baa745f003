// Arguments of the reductions, shared between host and device.
#pragma once

constexpr int kReduceMaxRank = 8;

struct ReduceArgs {
  const void* input;
  void* output;
  void* partial;  // SPLIT: [split][result] states
  long long results;
  long long size;   // elements that make one result
  long long inner;  // columns: neighbouring results; elements of one result lie this far apart
  long long count;  // that a mean divides by
  int splits;
  long long per_split;  // elements of a result that one block takes
  // reduce_general.cu: sizes and strides of the kept axes, then of the reduced ones, outermost first.
  int kept_rank, reduced_rank;
  long long sizes[kReduceMaxRank * 2], strides[kReduceMaxRank * 2];
};

struct ScanArgs {
  const void* input;
  void* output;
  long long outer, size, inner;
};
