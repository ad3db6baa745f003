#include "llm/past_cache.h"

#include <algorithm>
#include <utility>

namespace lathe::llm {
namespace {

constexpr int64_t kSmallestRoom = 64;  // in tokens

}  // namespace

void PastCache::Batch::extend(int64_t tokens) {
  length += tokens;
  for (Tensor& tensor : tensors)
    if (!tensor.in_place) std::swap(tensor.past, tensor.next);
}

PastCache::PastCache(DeviceContext& device, std::span<const OnnxPorts::Pair> pairs, int64_t blocks)
    : device_(device), pairs_(pairs.begin(), pairs.end()), places_(static_cast<size_t>(blocks)) {}

size_t PastCache::bytes(size_t pair, int64_t rows, int64_t tokens) const {
  return pairs_[pair].token_bytes() * static_cast<size_t>(rows * tokens);
}

bool PastCache::are_together(std::span<const BlockId> blocks) const {
  const Batch* batch = place_of(blocks.front()).batch.get();
  if (batch == nullptr || batch->members.size() != blocks.size()) return false;
  for (size_t row = 0; row < blocks.size(); ++row)
    if (place_of(blocks[row]).batch.get() != batch || place_of(blocks[row]).row != row) return false;
  return true;
}

PastCache::Batch& PastCache::together(std::span<const BlockId> blocks, int64_t length, int64_t more) {
  if (!are_together(blocks)) regroup(blocks, length);
  Batch& batch = *place_of(blocks.front()).batch;
  batch.length = length;
  const auto rows = static_cast<int64_t>(blocks.size());
  for (size_t i = 0; i < pairs_.size(); ++i) {
    Batch::Tensor& tensor = batch.tensors[i];
    const size_t kept = bytes(i, rows, length), needed = bytes(i, rows, length + more);
    if (tensor.past.capacity() < needed) {
      const size_t room = std::max({needed, 2 * tensor.past.capacity(), bytes(i, rows, kSmallestRoom)});
      tensor.past.extend(room, kept);
    }
    if (!tensor.in_place) tensor.next.reserve(tensor.past.capacity());
  }
  return batch;
}

// With the rows that the members have elsewhere, but not yet in their place.
std::shared_ptr<PastCache::Batch> PastCache::make_batch(std::span<const BlockId> members, int64_t length) {
  auto batch = std::make_shared<Batch>();
  batch->members.assign(members.begin(), members.end());
  batch->length = length;
  for (size_t i = 0; i < pairs_.size(); ++i) {
    const bool in_place = members.size() == 1 && pairs_[i].grows_at_end();
    Batch::Tensor& tensor =
        batch->tensors.emplace_back(Batch::Tensor{DeviceBuffer(device_), DeviceBuffer(device_), in_place});
    const size_t row_bytes = bytes(i, 1, length);
    if (length == 0) continue;
    auto* to = static_cast<std::byte*>(tensor.past.reserve(members.size() * row_bytes));
    for (const BlockId member : members) {
      const Place& from = place_of(member);
      device_.copy(std::exchange(to, to + row_bytes),
                   static_cast<std::byte*>(from.batch->tensors[i].past.data()) + from.row * row_bytes, row_bytes);
    }
  }
  return batch;
}

void PastCache::place(const std::shared_ptr<Batch>& batch) {
  device_.synchronize();  // the batches that they leave may go
  for (size_t row = 0; row < batch->members.size(); ++row) place_of(batch->members[row]) = {batch, row};
}

// Those whom the blocks leave behind stay together in a batch that has no room for who has gone.
void PastCache::regroup(std::span<const BlockId> blocks, int64_t length) {
  std::vector<std::shared_ptr<Batch>> left;
  for (const BlockId block : blocks) {
    const std::shared_ptr<Batch>& batch = place_of(block).batch;
    if (batch != nullptr && std::find(left.begin(), left.end(), batch) == left.end()) left.push_back(batch);
  }
  place(make_batch(blocks, length));
  for (const std::shared_ptr<Batch>& batch : left) {
    std::vector<BlockId> rest;
    for (const BlockId member : batch->members)
      if (place_of(member).batch == batch) rest.push_back(member);
    if (!rest.empty()) place(make_batch(rest, batch->length));
  }
}

void PastCache::copy(BlockId from, BlockId to) {
  if (place_of(from).batch == nullptr) return;
  Place& target = place_of(to);
  // A row is taken from where `from` is; that `to` has gone from its batch shows when that is used next.
  const Place kept = std::exchange(target, place_of(from));
  const std::shared_ptr<Batch> alone = make_batch({&to, 1}, target.batch->length);
  place(alone);
}

}  // namespace lathe::llm
