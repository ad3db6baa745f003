// The merges of a BPE model: which two neighbouring tokens become one, and which merge goes first. One flat hash table,
// since this look-up is the inner loop of BPE.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lathe::text {

// All ids must be below UINT32_MAX.
struct Merge {
  uint32_t left, right, result;
  uint32_t rank;  // the lowest goes first; of equal ones, the leftmost place in the word
};

class MergeTable {
 public:
  struct Found {
    uint32_t rank, result;  // rank == kNone: the two do not merge
  };
  static constexpr uint32_t kNone = UINT32_MAX;

  // Of merges of the same two tokens the last one counts.
  explicit MergeTable(std::span<const Merge> merges);

  Found find(uint32_t left, uint32_t right) const {
    for (size_t at = home(left, right);; at = (at + 1) & mask_) {
      const Merge& slot = slots_[at];
      if (slot.left == left && slot.right == right) return {slot.rank, slot.result};
      if (slot.rank == kNone) return {kNone, kNone};
    }
  }

 private:
  size_t home(uint32_t left, uint32_t right) const {
    const uint64_t hash = (uint64_t{left} << 32 | right) * 0x9E3779B97F4A7C15u;
    return (hash >> 24) & mask_;
  }

  std::vector<Merge> slots_;
  size_t mask_;
};

}  // namespace lathe::text
