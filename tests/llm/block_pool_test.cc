#include "llm/block_pool.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lathe::llm {
namespace {

TEST(BlockPool, TakesTheBlockThatWasGivenBackFirst) {
  BlockPool pool(3);
  EXPECT_EQ(pool.allocate(), 0);
  EXPECT_EQ(pool.allocate(), 1);
  pool.release(1, false);
  pool.release(0, false);
  EXPECT_EQ(pool.allocate(), 2);
  EXPECT_EQ(pool.allocate(), 1);
  EXPECT_EQ(pool.allocate(), 0);
  EXPECT_EQ(pool.available(), 0);
  EXPECT_THROW(pool.allocate(), Error);
}

TEST(BlockPool, WorthlessBlocksGoFirst) {
  BlockPool pool(3);
  for (int i = 0; i < 3; ++i) pool.allocate();
  pool.release(0, false);
  pool.release(2, true);
  EXPECT_EQ(pool.allocate(), 2);
}

TEST(BlockPool, ABlockIsFreeWhenItsLastOwnerGoes) {
  BlockPool pool(2);
  const BlockId block = pool.allocate();
  pool.retain(block);
  pool.release(block, false);
  EXPECT_EQ(pool.references(block), 1);
  EXPECT_EQ(pool.available(), 1);
  pool.release(block, false);
  EXPECT_EQ(pool.available(), 2);
  EXPECT_THROW(pool.release(block, false), Error);
}

TEST(BlockPool, AFreeBlockCanBeTakenBackFromTheMiddle) {
  BlockPool pool(3);
  pool.retain(1);
  EXPECT_EQ(pool.references(1), 1);
  EXPECT_EQ(pool.available(), 2);
  EXPECT_EQ(pool.allocate(), 0);
  EXPECT_EQ(pool.allocate(), 2);
  EXPECT_EQ(pool.available(), 0);
}

}  // namespace
}  // namespace lathe::llm
