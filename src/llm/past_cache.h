// Keys and values of the sequences of a PastModel, on its device. Sequences that are computed together lie together: a
// tensor of a batch holds its members one behind the other, as the model takes and gives it, so that what one step gave
// is what the next one takes. A sequence alone is a batch of one. Where members part, or others join them, rows are
// copied.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "llm/block_pool.h"
#include "llm/onnx_ports.h"
#include "runtime/device_buffer.h"

namespace lathe::llm {

class PastCache {
 public:
  // Members of one length.
  struct Batch {
    struct Tensor {
      DeviceBuffer past, next;  // what the last run left, and where the next one writes
      bool in_place;            // tokens go behind all that is there: that is one place, `past`
      void* present() const { return in_place ? past.data() : next.data(); }
    };
    std::vector<BlockId> members;
    int64_t length = 0;           // in tokens
    std::vector<Tensor> tensors;  // by pair

    // The run has written so many tokens more.
    void extend(int64_t tokens);
  };

  PastCache(DeviceContext& device, std::span<const OnnxPorts::Pair> pairs, int64_t blocks);

  // The sequences in these blocks, side by side in this order, with room for `more` tokens behind the `length` that
  // each of them has; with 0 they begin anew. Valid until the next call.
  Batch& together(std::span<const BlockId> blocks, int64_t length, int64_t more);
  void copy(BlockId from, BlockId to);

 private:
  struct Place {
    std::shared_ptr<Batch> batch;  // null: nothing was stored yet
    size_t row = 0;
  };

  std::shared_ptr<Batch> make_batch(std::span<const BlockId> members, int64_t length);
  void place(const std::shared_ptr<Batch>& batch);
  void regroup(std::span<const BlockId> blocks, int64_t length);
  bool are_together(std::span<const BlockId> blocks) const;
  size_t bytes(size_t pair, int64_t rows, int64_t tokens) const;
  Place& place_of(BlockId block) { return places_[static_cast<size_t>(block)]; }
  const Place& place_of(BlockId block) const { return places_[static_cast<size_t>(block)]; }

  DeviceContext& device_;
  std::vector<OnnxPorts::Pair> pairs_;
  std::vector<Place> places_;  // by block
};

}  // namespace lathe::llm
