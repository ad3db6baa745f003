#include "text/merge_table.h"

#include <bit>

namespace lathe::text {

MergeTable::MergeTable(std::span<const Merge> merges)
    : slots_(std::bit_ceil(2 * merges.size() + 2), Merge{kNone, kNone, kNone, kNone}), mask_(slots_.size() - 1) {
  for (const Merge& merge : merges) {
    size_t at = home(merge.left, merge.right);
    while (slots_[at].rank != kNone && (slots_[at].left != merge.left || slots_[at].right != merge.right))
      at = (at + 1) & mask_;
    slots_[at] = merge;
  }
}

}  // namespace lathe::text
