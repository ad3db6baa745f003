// Relative positions in buckets: near distances have buckets of their own, far ones share them logarithmically.
#pragma once

#include <cstdint>

#include "graph/graph.h"

namespace lathe::checkpoint {

// As T5 has them (arXiv 1910.10683): one learned number per head and bucket is added to the score of a key.
struct RelativeBuckets {
  int64_t buckets = 32;
  int64_t max_distance = 128;  // from here on all distances are in the last bucket
  bool both_ways = false;      // keys after the query have the second half of the buckets

  // `offset`: position of the key less that of the query.
  int64_t bucket(int64_t offset) const;
};

// As DeBERTa has them (arXiv 2006.03654, 2111.09543): rows of a table [2 * span(), features], whose middle is distance
// 0.
struct LogBuckets {
  int64_t buckets = 0;       // on each side; 0: every distance has its own
  int64_t max_distance = 0;  // from here on all distances have the outermost rows

  int64_t span() const { return buckets > 0 ? buckets : max_distance; }
  // `offset`: position of the query less that of the key.
  int64_t row(int64_t offset) const;
};

// For each query and key [sequence, sequence, ..] the row of `rows` [2 * reach + 1, ..] for the position of the key
// less that of the query, from -reach on; what lies farther has the outermost rows.
Value* by_distance(Graph& graph, Value* rows, const Dim& sequence, int64_t reach);

}  // namespace lathe::checkpoint
