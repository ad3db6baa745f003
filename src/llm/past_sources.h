// What a PastModel keeps of the sources of its requests, on its device: states, and the keys and values that the half
// of the decoder which begins sequences makes of them. Those of several sequences lie side by side, as the model takes
// them, with padding behind the shorter ones.
#pragma once

#include <list>
#include <span>
#include <vector>

#include "llm/onnx_ports.h"
#include "llm/source_reader.h"
#include "runtime/device_buffer.h"

namespace lathe::llm {

class PastSources {
 public:
  struct Source {
    std::vector<float> states;
    int64_t length = 0;              // in states
    uint64_t serial = 0;             // of what was read into it
    std::vector<DeviceBuffer> kept;  // by OnnxPorts::kept
  };
  class Batch {
   public:
    int64_t length() const { return length_; }  // of the longest
    std::span<Source* const> members() const { return members_; }
    std::span<const float> states() const {
      return alone() ? members_[0]->states : states_;
    }  // [members, length, hidden]
    void* kept(size_t index) const { return (alone() ? members_[0]->kept : kept_)[index].data(); }

   private:
    friend PastSources;
    bool alone() const { return members_.size() == 1; }

    std::vector<Source*> members_;
    std::vector<uint64_t> serials_;
    int64_t length_ = 0;
    std::vector<float> states_;       // of several
    std::vector<DeviceBuffer> kept_;  // of several
    bool used_ = true;                // in this step
  };

  PastSources(SourceReader reader, DeviceContext& device, std::span<const OnnxPorts::Kept> kept, int64_t blocks);

  int64_t hidden() const { return reader_.info().hidden; }
  // What the block holds, read anew where `given` is not empty.
  Source& at(int32_t block, const llm::Source& given);
  // Side by side in this order. Valid until the end of the step.
  Batch& together(std::span<Source* const> sources);
  // The model has written what is kept of them.
  void store(const Batch& batch);
  // Lets go what no sequence of the step has looked at.
  void end_step();

 private:
  void gather(Batch& batch);
  struct Row {
    const DeviceBuffer& buffer;
    int64_t length;  // that rows have there
    size_t index;
  };
  void copy_row(size_t kept, const Row& from, const Row& to, int64_t length);

  SourceReader reader_;
  DeviceContext& device_;
  std::vector<OnnxPorts::Kept> kept_;
  std::vector<Source> sources_;  // by the first block of a source
  std::list<Batch> batches_;
  uint64_t serial_ = 0;
};

}  // namespace lathe::llm
