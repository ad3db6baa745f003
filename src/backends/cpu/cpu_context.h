// What a session on the CPU owns: its thread team, and a team of one for steps too small to share. Device memory is
// host memory.
#pragma once

#include "backends/backend.h"
#include "base/thread_team.h"

namespace lathe::cpu {

class CpuContext : public DeviceContext {
 public:
  explicit CpuContext(const ContextOptions& options)
      : team_(options.threads), alone_(1), current_(&team_), share_above_(options.share_above_microseconds) {}

  // The threads for the step that runs.
  ThreadTeam& team() { return *current_; }
  void announce(const Cost& cost) override;

  void* allocate(size_t bytes) override;
  void release(void* memory) noexcept override;
  void upload(void* device, std::span<const std::byte> host) override;
  void download(std::span<std::byte> host, const void* device) override;
  void copy(void* destination, const void* source, size_t bytes) override;
  int threads() const override { return team_.size(); }
  bool host_memory() const override { return true; }

 private:
  ThreadTeam team_, alone_;
  ThreadTeam* current_;
  double share_above_;  // microseconds
};

}  // namespace lathe::cpu
