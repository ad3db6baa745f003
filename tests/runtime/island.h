// A device whose memory is not the host's, without any hardware: the reference backend behind a wall. Its addresses
// come from a pool of its own that counts what is taken, and it fails when more is asked for than there is.
#pragma once

#include <cstring>
#include <map>
#include <mutex>

#include "backends/reference/reference_backend.h"
#include "base/error.h"
#include "tests/runtime/engine_of.h"

namespace lathe::test {

// The memory of one island, which outlives everything on it.
struct IslandMemory {
  std::mutex mutex;
  std::map<void*, size_t> taken;
  size_t limit = SIZE_MAX, uploads = 0, downloads = 0;
  size_t pinned_limit = SIZE_MAX, pinned = 0, streamed = 0;
  bool late_copies = false;  // copies of queues are made when they are waited for, else as soon as they may be

  size_t bytes() const {
    size_t sum = 0;
    for (const auto& [address, size] : taken) sum += size;
    return sum;
  }
  bool holds(const void* address) const { return taken.contains(const_cast<void*>(address)); }
};

// Steps run when they are enqueued, so a copy that need not wait any more is made at once, or as late as it may be:
// both show in the results if a step reads too early or a copy comes too soon.
class IslandCopyQueue : public CopyQueue {
 public:
  explicit IslandCopyQueue(IslandMemory& memory, size_t slots) : memory_(memory), copied_(slots) {}
  void copy(void* device, std::span<const std::byte> host) override {
    ++memory_.streamed;
    copies_.push_back({device, host});
    if (!memory_.late_copies) flush(copies_.size());
  }
  void mark_copied(size_t slot) override { copied_[slot] = made_ + copies_.size(); }
  void await_copied(size_t slot) override { flush(copied_[slot] - std::min(copied_[slot], made_)); }
  void mark_used(size_t) override {}
  void await_used(size_t) override {}

 private:
  struct Copy {
    void* to;
    std::span<const std::byte> from;
  };
  void flush(size_t count) {
    for (size_t i = 0; i < count; ++i)
      if (!copies_[i].from.empty()) std::memcpy(copies_[i].to, copies_[i].from.data(), copies_[i].from.size());
    copies_.erase(copies_.begin(), copies_.begin() + static_cast<std::ptrdiff_t>(count));
    made_ += count;
  }

  IslandMemory& memory_;
  std::vector<Copy> copies_;  // that wait
  size_t made_ = 0;
  std::vector<size_t> copied_;  // by slot: copies made and waiting before its mark
};

class IslandContext : public DeviceContext {
 public:
  explicit IslandContext(IslandMemory& memory) : memory_(memory) {}
  void* allocate(size_t bytes) override {
    const std::lock_guard lock(memory_.mutex);
    if (bytes > memory_.limit - std::min(memory_.limit, memory_.bytes()))
      fail(ErrorCode::out_of_memory, "the island has no {} bytes", bytes);
    void* address = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    memory_.taken[address] = bytes;
    return address;
  }
  void release(void* address) noexcept override {
    const std::lock_guard lock(memory_.mutex);
    memory_.taken.erase(address);
    std::free(address);
  }
  void upload(void* device, std::span<const std::byte> host) override {
    ++memory_.uploads;
    copy(device, host.data(), host.size());
  }
  void download(std::span<std::byte> host, const void* device) override {
    ++memory_.downloads;
    copy(host.data(), device, host.size());
  }
  void copy(void* destination, const void* source, size_t bytes) override {
    if (bytes > 0) std::memcpy(destination, source, bytes);
  }
  bool host_memory() const override { return false; }

  std::unique_ptr<CopyQueue> make_copy_queue(size_t slots) override {
    return std::make_unique<IslandCopyQueue>(memory_, slots);
  }
  std::byte* allocate_pinned(size_t bytes) override {
    if (memory_.pinned + bytes > memory_.pinned_limit) return nullptr;
    memory_.pinned += bytes;
    return new std::byte[bytes];
  }
  void release_pinned(std::byte* memory) noexcept override { delete[] memory; }

 private:
  IslandMemory& memory_;
};

class IslandBackend : public Backend {
 public:
  explicit IslandBackend(IslandMemory& memory, std::vector<std::byte> code = {})
      : memory_(memory), code_(std::move(code)), inner_(make_reference_backend()) {}
  std::string_view name() const override { return "cuda"; }
  std::string target() const override { return "island"; }
  bool host_memory() const override { return false; }
  std::vector<Candidate> candidates(const Node& node) const override { return inner_->candidates(node); }
  std::vector<std::byte> compiled_code() const override { return code_; }
  std::unique_ptr<DeviceContext> make_context(const ContextOptions&) const override {
    return std::make_unique<IslandContext>(memory_);
  }
  size_t packed_bytes(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims) const override {
    return inner_->packed_bytes(layout, dtype, dims);
  }
  void pack(const WeightLayout& layout, const Tensor& source, std::span<std::byte> packed) const override {
    inner_->pack(layout, source, packed);
  }
  Tensor unpack(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims,
                std::span<const std::byte> packed) const override {
    return inner_->unpack(layout, dtype, dims, packed);
  }

 private:
  IslandMemory& memory_;
  const std::vector<std::byte> code_;
  const std::unique_ptr<Backend> inner_;
};

inline CompiledModel compile_on_island(const std::string& text, IslandMemory& memory,
                                       std::vector<std::byte> code = {}) {
  CompiledModel model = compile(parse_graph(text), on_device("reference"));
  model.backend = std::make_unique<IslandBackend>(memory, std::move(code));
  model.fallbacks.push_back(make_reference_backend());
  return model;
}

}  // namespace lathe::test
