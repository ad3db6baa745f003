#include "backends/cuda/libraries.h"

namespace lathe::cuda {
namespace {

// Opens a library once; one that is missing or too old stays null.
template <class T>
const T* open_once(std::once_flag& once, std::unique_ptr<const T>& library,
                   const std::shared_ptr<const Device>& device) {
  std::call_once(once, [&] {
    try {
      library = std::make_unique<const T>(device);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unsupported) throw;
    }
  });
  return library.get();
}

}  // namespace

CublasLt::CublasLt(std::shared_ptr<const Device> device) : device_(std::move(device)), api_(CublasLtApi::open()) {
  device_->make_current();
  api_->check(api_->create(&handle_), "starting");
}

Cudnn::Cudnn(std::shared_ptr<const Device> device) : device_(std::move(device)), api_(CudnnApi::open()) {
  device_->make_current();
  api_->check(api_->create(&handle_), "starting");
}

const CublasLt* Libraries::cublaslt() const { return open_once(cublaslt_once_, cublaslt_, device_); }

const Cudnn* Libraries::cudnn() const { return open_once(cudnn_once_, cudnn_, device_); }

}  // namespace lathe::cuda
