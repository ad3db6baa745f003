// What a session on the CPU owns: its thread team. Device memory is host memory.
#pragma once

#include "backends/backend.h"
#include "base/thread_team.h"

namespace lathe::cpu {

class CpuContext : public DeviceContext {
 public:
  explicit CpuContext(int threads) : team_(threads) {}

  ThreadTeam& team() { return team_; }

  void* allocate(size_t bytes) override;
  void release(void* memory) noexcept override;
  void upload(void* device, std::span<const std::byte> host) override;
  void download(std::span<std::byte> host, const void* device) override;
  void copy(void* destination, const void* source, size_t bytes) override;
  int threads() const override { return team_.size(); }
  bool host_memory() const override { return true; }

 private:
  ThreadTeam team_;
};

}  // namespace lathe::cpu
