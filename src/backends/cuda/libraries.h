// NVIDIA's libraries of kernels, opened when first asked for. Lathe works without them: each has kernels of Lathe's own
// behind it.
#pragma once

#include <memory>
#include <mutex>

#include "backends/cuda/api/cublaslt.h"
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

class Libraries {
 public:
  explicit Libraries(std::shared_ptr<const Device> device) : device_(std::move(device)) {}

  // Null when the library is not installed.
  const CublasLt* cublaslt() const;

 private:
  std::shared_ptr<const Device> device_;
  mutable std::once_flag cublaslt_once_;
  mutable std::unique_ptr<const CublasLt> cublaslt_;
};

}  // namespace lathe::cuda
