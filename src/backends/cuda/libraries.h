// NVIDIA's libraries of kernels, opened when first asked for. Lathe works without them: each has kernels of Lathe's own
// behind it.
#pragma once

#include <memory>
#include <mutex>

#include "backends/cuda/api/cublaslt.h"
#include "backends/cuda/api/cudnn.h"
#include "backends/cuda/device.h"

namespace lathe::cuda {

// cuBLASLt with its handle, which any thread may use at any time.
class CublasLt {
 public:
  explicit CublasLt(std::shared_ptr<const Device> device);
  ~CublasLt() { api_->destroy(handle_); }
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  const CublasLtApi& api() const { return *api_; }
  cublasLtHandle_t handle() const { return handle_; }

 private:
  std::shared_ptr<const Device> device_;
  std::shared_ptr<const CublasLtApi> api_;
  cublasLtHandle_t handle_ = nullptr;
};

// cuDNN with its handle, which one thread may use at a time.
class Cudnn {
 public:
  explicit Cudnn(std::shared_ptr<const Device> device);
  ~Cudnn() { api_->destroy(handle_); }
  Cudnn(const Cudnn&) = delete;
  Cudnn& operator=(const Cudnn&) = delete;

  const CudnnApi& api() const { return *api_; }

  class Lock {
   public:
    Lock(std::mutex& mutex, cudnnHandle_t handle) : lock_(mutex), handle_(handle) {}
    cudnnHandle_t get() const { return handle_; }

   private:
    std::lock_guard<std::mutex> lock_;
    cudnnHandle_t handle_;
  };
  // The handle, for as long as the lock is held.
  Lock lock() const { return Lock(mutex_, handle_); }

 private:
  std::shared_ptr<const Device> device_;
  std::shared_ptr<const CudnnApi> api_;
  cudnnHandle_t handle_ = nullptr;
  mutable std::mutex mutex_;
};

class Libraries {
 public:
  explicit Libraries(std::shared_ptr<const Device> device) : device_(std::move(device)) {}

  // Null when a library is not installed.
  const CublasLt* cublaslt() const;
  const Cudnn* cudnn() const;

 private:
  std::shared_ptr<const Device> device_;
  mutable std::once_flag cublaslt_once_, cudnn_once_;
  mutable std::unique_ptr<const CublasLt> cublaslt_;
  mutable std::unique_ptr<const Cudnn> cudnn_;
};

}  // namespace lathe::cuda
