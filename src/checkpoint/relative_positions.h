// Relative positions in buckets, as T5 has them (arXiv 1910.10683): one learned number per head and bucket is added to
// the score of a key; near distances have buckets of their own, far ones share them logarithmically.
#pragma once

#include <cstdint>

namespace lathe::checkpoint {

struct RelativeBuckets {
  int64_t buckets = 32;
  int64_t max_distance = 128;  // from here on all distances are in the last bucket
  bool both_ways = false;      // keys after the query have the second half of the buckets

  // `offset`: position of the key less that of the query.
  int64_t bucket(int64_t offset) const;
};

}  // namespace lathe::checkpoint
