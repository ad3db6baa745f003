// The argument of the attention kernels, shared between host and device.
#pragma once

constexpr int kAttentionMaxExtras = 8;
constexpr int kAttentionMaxDims = 8;

// Where (batch, token, head, feature) lies, in elements.
struct AttentionView {
  void* data;
  long long batch, token, head, feature;
};

// PACKED, on Hopper: so many starts of sequences are kept in shared memory.
constexpr int kKeptStarts = 1024;

struct AttentionArgs {
  AttentionView q, k, v, y;
  const void* extras[kAttentionMaxExtras];
  long long extra_strides[kAttentionMaxExtras][4];  // along batch, head, query, key; 0 where the extra repeats
  long long dims[kAttentionMaxDims];                // values of the score's dimension expressions
  float* partial;                                   // SPLIT: see attention.cuh
  float scale;
  int causal_offset;         // within +-2^30
  int batch, queries, keys;  // PACKED: sequences, and how many tokens each may have
  const int* starts;         // PACKED: [batch + 1]
  int tokens;                // PACKED: of all sequences
  unsigned tiles;            // of rows, of all key heads and splits: where blocks go from one to the next
  int section;               // CAUSAL: key heads whose rows are computed together, from the last to the first
  int splits;                // parts that the keys are cut into
  int keys_per_split;        // a multiple of KEYS; all keys when they are not split
};
