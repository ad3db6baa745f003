#include "backends/cuda/api/cudnn.h"

namespace lathe::cuda {

std::shared_ptr<const CudnnApi> CudnnApi::open() {
  constexpr const char* kNames[] = {"libcudnn.so.9", "/usr/local/cuda/lib64/libcudnn.so.9"};
  auto api = std::make_shared<CudnnApi>();
  api->library = SharedLibrary::open(
      kNames, "Install the package nvidia-cudnn-cu13 from PyPI, and let LD_LIBRARY_PATH name its folder");
  const SharedLibrary& lib = *api->library;
  lib.bind(api->get_error_string, "cudnnGetErrorString");
  lib.bind(api->version, "cudnnGetVersion");
  lib.bind(api->create, "cudnnCreate");
  lib.bind(api->destroy, "cudnnDestroy");
  lib.bind(api->set_stream, "cudnnSetStream");
  lib.bind(api->tensor_create, "cudnnCreateTensorDescriptor");
  lib.bind(api->tensor_destroy, "cudnnDestroyTensorDescriptor");
  lib.bind(api->tensor_set, "cudnnSetTensorNdDescriptorEx");
  lib.bind(api->filter_create, "cudnnCreateFilterDescriptor");
  lib.bind(api->filter_destroy, "cudnnDestroyFilterDescriptor");
  lib.bind(api->filter_set, "cudnnSetFilterNdDescriptor");
  lib.bind(api->convolution_create, "cudnnCreateConvolutionDescriptor");
  lib.bind(api->convolution_destroy, "cudnnDestroyConvolutionDescriptor");
  lib.bind(api->convolution_set, "cudnnSetConvolutionNdDescriptor");
  lib.bind(api->convolution_set_math, "cudnnSetConvolutionMathType");
  lib.bind(api->convolution_set_groups, "cudnnSetConvolutionGroupCount");
  lib.bind(api->activation_create, "cudnnCreateActivationDescriptor");
  lib.bind(api->activation_destroy, "cudnnDestroyActivationDescriptor");
  lib.bind(api->activation_set, "cudnnSetActivationDescriptor");
  lib.bind(api->forward_algorithms, "cudnnGetConvolutionForwardAlgorithm_v7");
  lib.bind(api->backward_algorithms, "cudnnGetConvolutionBackwardDataAlgorithm_v7");
  lib.bind(api->forward, "cudnnConvolutionForward");
  lib.bind(api->forward_fused, "cudnnConvolutionBiasActivationForward");
  lib.bind(api->backward_data, "cudnnConvolutionBackwardData");
  return api;
}

void CudnnApi::check(cudnnStatus_t status, std::string_view what) const {
  if (status != 0) fail(ErrorCode::internal, "cuDNN, {}: {}", what, get_error_string(status));
}

}  // namespace lathe::cuda
