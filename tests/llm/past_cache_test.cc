// Sequences that meet, part, fork and begin anew at random: whatever lies beside them, they hold what was written for
// them.
#include "llm/past_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>

#include "backends/cpu/cpu_context.h"

namespace lathe::llm {
namespace {

// [batch, heads, tokens, features] and [batch, 1, tokens, features]: a sequence of the latter alone grows at its end.
std::vector<OnnxPorts::Pair> two_pairs() {
  return {{"past.k", "present.k", DType::f32, {1, 2, 0, 3}, 2}, {"past.v", "present.v", DType::f32, {1, 1, 0, 2}, 2}};
}

class PastCacheFuzz : public ::testing::Test {
 protected:
  static constexpr int64_t kBlocks = 7, kMost = 150;

  int64_t number(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random_); }

  // What the run of a model does: [batch, heads, length + more, features] from what there is and new numbers.
  void grow(const std::vector<BlockId>& blocks, int64_t length, int64_t more) {
    PastCache::Batch& batch = cache_.together(blocks, length, more);
    ASSERT_EQ(batch.members, blocks);
    for (size_t p = 0; p < pairs_.size(); ++p) {
      const int64_t heads = pairs_[p].dims[1], features = pairs_[p].dims[3];
      ASSERT_GE(batch.tensors[p].past.capacity(), blocks.size() * pairs_[p].token_bytes() * (length + more));
      const auto* past = static_cast<const float*>(batch.tensors[p].past.data());
      std::vector<float> present;
      for (const BlockId block : blocks)
        for (int64_t head = 0; head < heads; ++head) {
          std::vector<float>& wanted = wanted_[block][static_cast<size_t>(p)][static_cast<size_t>(head)];
          wanted.resize(static_cast<size_t>(length * features));
          for (const float x : wanted) {
            ASSERT_EQ(*past++, x) << "block " << block;
            present.push_back(x);
          }
          for (int64_t i = 0; i < more * features; ++i) present.push_back(++written_), wanted.push_back(written_);
        }
      std::memcpy(batch.tensors[p].present(), present.data(), present.size() * sizeof(float));
    }
    batch.extend(more);
    for (const BlockId block : blocks) lengths_[block] = length + more;
  }

  std::mt19937 random_{5};
  std::vector<OnnxPorts::Pair> pairs_ = two_pairs();
  cpu::CpuContext device_{ContextOptions()};
  PastCache cache_{device_, pairs_, kBlocks};
  std::map<BlockId, std::map<size_t, std::map<size_t, std::vector<float>>>> wanted_;  // by block, pair and head
  std::map<BlockId, int64_t> lengths_;
  float written_ = 0;
};

TEST_F(PastCacheFuzz, EverySequenceHoldsWhatWasWrittenForIt) {
  for (int step = 0; step < 3000; ++step) {
    if (number(0, 3) == 0) {
      const auto from = static_cast<BlockId>(number(0, kBlocks - 1)), to = static_cast<BlockId>(number(0, kBlocks - 1));
      if (from == to) continue;
      cache_.copy(from, to);
      wanted_[to] = wanted_[from];
      lengths_[to] = lengths_[from];
      continue;
    }
    // Mostly those of one length, now and then some that begin anew.
    std::vector<BlockId> blocks;
    const auto first = static_cast<BlockId>(number(0, kBlocks - 1));
    const int64_t length = lengths_[first] > kMost || number(0, 20) == 0 ? 0 : lengths_[first];
    for (BlockId block = 0; block < kBlocks; ++block)
      if (block == first || (number(0, 4) > 0 && (lengths_[block] == length || length == 0))) blocks.push_back(block);
    if (number(0, 5) == 0) std::shuffle(blocks.begin(), blocks.end(), random_);
    grow(blocks, length, number(1, number(0, 9) == 0 ? 70 : 3));
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace lathe::llm
