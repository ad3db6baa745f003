// Buffers alive at the same time never overlap, and the arena is no larger than it has to be in the cases one can see.
#include "runtime/memory_planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace lathe {
namespace {

bool live_together(const BufferLifetime& a, const BufferLifetime& b) { return a.first <= b.last && b.first <= a.last; }

void expect_valid(const std::vector<BufferLifetime>& buffers, const MemoryPlan& plan) {
  ASSERT_EQ(plan.offsets.size(), buffers.size());
  for (size_t i = 0; i < buffers.size(); ++i) {
    EXPECT_EQ(plan.offsets[i] % kArenaAlignment, 0u);
    EXPECT_LE(plan.offsets[i] + buffers[i].bytes, plan.arena_bytes);
    for (size_t j = 0; j < i; ++j) {
      if (!live_together(buffers[i], buffers[j])) continue;
      const bool apart = plan.offsets[i] + buffers[i].bytes <= plan.offsets[j] ||
                         plan.offsets[j] + buffers[j].bytes <= plan.offsets[i];
      EXPECT_TRUE(apart) << "buffers " << i << " and " << j;
    }
  }
}

size_t most_alive_at_once(const std::vector<BufferLifetime>& buffers) {
  size_t most = 0;
  for (const BufferLifetime& at : buffers) {
    size_t alive = 0;
    for (const BufferLifetime& b : buffers)
      if (b.first <= at.first && at.first <= b.last) alive += b.bytes;
    most = std::max(most, alive);
  }
  return most;
}

TEST(MemoryPlanner, RandomLifetimesNeverOverlap) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const size_t count = random() % 60;
    const int steps = 1 + static_cast<int>(random() % 40);
    const size_t largest = size_t{1} << (random() % 20);
    std::vector<BufferLifetime> buffers;
    for (size_t i = 0; i < count; ++i) {
      const int first = static_cast<int>(random() % static_cast<unsigned>(steps));
      const int last = std::min(steps - 1, first + static_cast<int>(random() % 8));
      buffers.push_back({random() % (largest + 1), first, last});
    }
    const MemoryPlan plan = plan_memory(buffers);
    expect_valid(buffers, plan);
    EXPECT_GE(plan.arena_bytes, most_alive_at_once(buffers));
  }
}

TEST(MemoryPlanner, NothingNeedsNothing) {
  EXPECT_EQ(plan_memory({}).arena_bytes, 0u);
  const std::vector<BufferLifetime> empty = {{0, 0, 5}, {0, 2, 3}};
  EXPECT_EQ(plan_memory(empty).arena_bytes, 0u);
}

TEST(MemoryPlanner, AChainUsesTheSpaceOfTwo) {
  std::vector<BufferLifetime> buffers;
  for (int i = 0; i < 10; ++i) buffers.push_back({1024, i, i + 1});
  const MemoryPlan plan = plan_memory(buffers);
  expect_valid(buffers, plan);
  EXPECT_EQ(plan.arena_bytes, 2048u);
}

TEST(MemoryPlanner, LastStepOfOneAndFirstOfTheNextOverlap) {
  const std::vector<BufferLifetime> buffers = {{100, 0, 1}, {100, 1, 2}};  // step 1 reads the one and writes the other
  const MemoryPlan plan = plan_memory(buffers);
  EXPECT_NE(plan.offsets[0], plan.offsets[1]);
}

TEST(MemoryPlanner, SmallBuffersFillTheGaps) {
  // The large ones die before the small ones come, which then fit into their space.
  const std::vector<BufferLifetime> buffers = {{4096, 0, 1}, {4096, 0, 1}, {64, 2, 3}, {64, 2, 3}, {1, 2, 2}};
  const MemoryPlan plan = plan_memory(buffers);
  expect_valid(buffers, plan);
  EXPECT_EQ(plan.arena_bytes, 8192u);
}

TEST(MemoryPlanner, TheSameBuffersGiveTheSamePlan) {
  std::vector<BufferLifetime> buffers;
  for (int i = 0; i < 50; ++i) buffers.push_back({64, i % 7, i % 7 + 3});  // equal sizes: order decides
  EXPECT_EQ(plan_memory(buffers).offsets, plan_memory(buffers).offsets);
}

}  // namespace
}  // namespace lathe
