// What a session on a GPU owns: its stream, and pinned host memory through which plain host memory travels.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "backends/cuda/device.h"

namespace lathe::cuda {

class CudaContext : public DeviceContext {
 public:
  explicit CudaContext(std::shared_ptr<const Device> device);
  ~CudaContext() override;

  const Device& device() const { return *device_; }
  CUstream stream() const { return stream_; }

  void begin_run() override { device_->make_current(); }
  void* allocate(size_t bytes) override;
  void release(void* memory) noexcept override;
  void upload(void* device, std::span<const std::byte> host) override;
  void download(std::span<std::byte> host, const void* device) override;
  void copy(void* destination, const void* source, size_t bytes) override;
  void synchronize() override;
  bool host_memory() const override { return false; }

 private:
  std::shared_ptr<const Device> device_;
  CUstream stream_ = nullptr;
};

inline CUdeviceptr address(const void* device) { return reinterpret_cast<CUdeviceptr>(device); }

}  // namespace lathe::cuda
