// The pool of cache blocks, as numbers: who owns how many references, and which free block is taken next. A block whose
// last reference goes is free but keeps its content until it is taken again, oldest first, so that the prefix cache can
// still give it out. Nothing here knows of memory; the model holds that.
//
// Invariant: a block is in the free list exactly when nobody references it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lathe::llm {

using BlockId = int32_t;

class BlockPool {
 public:
  explicit BlockPool(int64_t blocks);

  int64_t size() const { return static_cast<int64_t>(nodes_.size()); }
  int64_t available() const { return available_; }
  int32_t references(BlockId block) const { return node(block).references; }

  // The free block that was given back first, now with one reference. There must be one.
  BlockId allocate();
  // One more owner; a free block is free no longer.
  void retain(BlockId block);
  // What a block holds may be `worthless`: it is then taken before all others.
  void release(BlockId block, bool worthless);

 private:
  struct Node {
    int32_t references = 0;
    BlockId previous = kNone, next = kNone;  // in the free list
  };
  static constexpr BlockId kNone = -1;

  Node& node(BlockId block) { return nodes_[static_cast<size_t>(block)]; }
  const Node& node(BlockId block) const { return nodes_[static_cast<size_t>(block)]; }
  void unlink(BlockId block);
  void link(BlockId block, BlockId previous, BlockId next);

  std::vector<Node> nodes_;
  BlockId first_ = kNone, last_ = kNone;
  int64_t available_ = 0;
};

}  // namespace lathe::llm
