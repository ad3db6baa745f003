#include "llm/block_pool.h"

#include "base/error.h"

namespace lathe::llm {

BlockPool::BlockPool(int64_t blocks) : nodes_(static_cast<size_t>(blocks)) {
  for (BlockId block = 0; block < static_cast<BlockId>(blocks); ++block) link(block, last_, kNone);
}

BlockId BlockPool::allocate() {
  LATHE_CHECK(first_ != kNone);
  const BlockId block = first_;
  unlink(block);
  node(block).references = 1;
  return block;
}

void BlockPool::retain(BlockId block) {
  if (node(block).references == 0) unlink(block);
  ++node(block).references;
}

void BlockPool::release(BlockId block, bool worthless) {
  LATHE_CHECK(node(block).references > 0);
  if (--node(block).references > 0) return;
  if (worthless)
    link(block, kNone, first_);
  else
    link(block, last_, kNone);
}

void BlockPool::unlink(BlockId block) {
  const auto [references, previous, next] = node(block);
  (previous == kNone ? first_ : node(previous).next) = next;
  (next == kNone ? last_ : node(next).previous) = previous;
  node(block) = {};
  --available_;
}

void BlockPool::link(BlockId block, BlockId previous, BlockId next) {
  node(block) = {0, previous, next};
  (previous == kNone ? first_ : node(previous).next) = block;
  (next == kNone ? last_ : node(next).previous) = block;
  ++available_;
}

}  // namespace lathe::llm
