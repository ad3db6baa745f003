// What a session on a GPU owns: its stream, and pinned host memory through which plain host memory travels. Runs whose
// addresses stay the same are recorded as CUDA graphs.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/cuda/device.h"

namespace lathe::cuda {

// A launch that the next step may take along with its own.
class Deferred {
 public:
  virtual ~Deferred() = default;
  virtual void launch(CUstream stream) = 0;
  // Whether the kernel behind it starts only when those before it are complete.
  virtual bool holds_back_next() const { return false; }
};

class CudaContext : public DeviceContext {
 public:
  CudaContext(std::shared_ptr<const Device> device, const ContextOptions& options);
  ~CudaContext() override;

  const Device& device() const { return *device_; }
  // Everything that uses the stream asks for it here: what was deferred is launched first.
  CUstream stream();
  void defer(std::unique_ptr<Deferred> launch);
  std::unique_ptr<Deferred> take_deferred() { return std::move(deferred_); }  // null where there is none

  void begin_run() override;
  void* allocate(size_t bytes) override;
  void release(void* memory) noexcept override;
  size_t free_bytes() const override;
  void upload(void* device, std::span<const std::byte> host) override;
  void download(std::span<std::byte> host, const void* device) override;
  void copy(void* destination, const void* source, size_t bytes) override;
  void synchronize() override;
  int threads() const override { return &host() == this ? 1 : host().threads(); }  // for the steps that host() runs
  bool host_memory() const override { return false; }

  // For the kernels of a stream, each of which finds zeros there and leaves zeros.
  static constexpr size_t kCounters = 1024;
  int* counters() const { return counters_; }

  std::unique_ptr<DeviceClock> make_clock(size_t marks) override;
  bool can_record() const override { return recording_; }
  void begin_recording() override;
  std::unique_ptr<Recording> end_recording() override;
  void replay(Recording& recording) override;

  std::unique_ptr<CopyQueue> make_copy_queue(size_t slots) override;
  std::byte* allocate_pinned(size_t bytes) override;
  void release_pinned(std::byte* memory) noexcept override;

 private:
  std::byte* take_pinned(size_t bytes);
  bool is_pinned(const std::byte* memory) const;
  std::string describe_allocation(size_t bytes) const;

  std::shared_ptr<const Device> device_;
  const bool recording_;
  CUstream stream_ = nullptr;
  std::unique_ptr<Deferred> deferred_;
  int* counters_ = nullptr;
  // Pinned memory is handed out front to back and taken back when the stream has been waited for.
  std::byte* pinned_ = nullptr;
  size_t pinned_bytes_ = 0, pinned_used_ = 0, pinned_wanted_ = 0;
  std::vector<std::span<const std::byte>> pinned_by_others_;  // what allocate_pinned has given
};

inline CUdeviceptr address(const void* device) { return reinterpret_cast<CUdeviceptr>(device); }

}  // namespace lathe::cuda
