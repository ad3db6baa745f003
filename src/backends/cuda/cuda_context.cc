#include "backends/cuda/cuda_context.h"

namespace lathe::cuda {

CudaContext::CudaContext(std::shared_ptr<const Device> device) : device_(std::move(device)) {
  device_->make_current();
  device_->check(device_->driver().stream_create(&stream_, kStreamNonBlocking), "making a stream");
}

CudaContext::~CudaContext() { device_->driver().stream_destroy(stream_); }

void* CudaContext::allocate(size_t bytes) {
  device_->make_current();
  CUdeviceptr pointer = 0;
  device_->check(device_->driver().mem_alloc(&pointer, bytes), fmt::format("allocating {} bytes on the GPU", bytes));
  return reinterpret_cast<void*>(pointer);
}

void CudaContext::release(void* memory) noexcept { device_->driver().mem_free(address(memory)); }

void CudaContext::upload(void* device, std::span<const std::byte> host) {
  if (host.empty()) return;
  device_->check(device_->driver().memcpy_htod_async(address(device), host.data(), host.size(), stream_),
                 "copying to the GPU");
}

void CudaContext::download(std::span<std::byte> host, const void* device) {
  if (host.empty()) return;
  device_->check(device_->driver().memcpy_dtoh_async(host.data(), address(device), host.size(), stream_),
                 "copying from the GPU");
  synchronize();
}

void CudaContext::copy(void* destination, const void* source, size_t bytes) {
  if (bytes == 0) return;
  device_->check(device_->driver().memcpy_dtod_async(address(destination), address(source), bytes, stream_),
                 "copying on the GPU");
}

void CudaContext::synchronize() {
  device_->check(device_->driver().stream_synchronize(stream_), "waiting for the GPU");
}

}  // namespace lathe::cuda
