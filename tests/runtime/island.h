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

  size_t bytes() const {
    size_t sum = 0;
    for (const auto& [address, size] : taken) sum += size;
    return sum;
  }
  bool holds(const void* address) const { return taken.contains(const_cast<void*>(address)); }
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
