// The argument of the kernels for attention over a paged cache, shared between host and device.
#pragma once

struct PagedAttentionArgs {
  const void *q, *k, *v;             // of the first head
  long long q_row, k_row, v_row;     // from one token to the next, in elements
  int q_stride, k_stride, v_stride;  // from one head to the next
  void *key_cache, *value_cache, *y;
  const int *starts, *contexts, *table, *prefixes;
  const int* key_starts;  // of the new keys of sequences; those of the queries where each token brings its own
  const float *slopes, *biases, *sinks;
  float* partial;  // see PartialRow in paged_attention.cuh
  int* counters;   // of parts, a head each, where the kernel has some that are 0 before and after it
  float scale, softcap;
  int tokens, keys, sequences, table_width;
  int splits;  // parts that the keys of the longest context are cut into
};
