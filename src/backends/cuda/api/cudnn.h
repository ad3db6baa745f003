// cuDNN, convolutions by NVIDIA. Declared and opened as the driver is (driver.h).
#pragma once

#include <cstddef>
#include <memory>

#include "backends/cuda/api/driver.h"

namespace lathe::cuda {

using cudnnStatus_t = int;
using cudnnHandle_t = struct cudnnContext*;
using cudnnTensorDescriptor_t = struct cudnnTensorStruct*;
using cudnnFilterDescriptor_t = struct cudnnFilterStruct*;
using cudnnConvolutionDescriptor_t = struct cudnnConvolutionStruct*;
using cudnnActivationDescriptor_t = struct cudnnActivationStruct*;

// Both of cudnnConvolutionFwdAlgoPerf_t and cudnnConvolutionBwdDataAlgoPerf_t.
struct cudnnAlgorithmPerf_t {
  int algo;
  cudnnStatus_t status;
  float time;
  size_t memory;
  int determinism;
  int math_type;
  int reserved[3];
};

// cudnnDataType_t
inline constexpr int kDnnFloat = 0, kDnnHalf = 2, kDnnBfloat16 = 9;
// cudnnTensorFormat_t
inline constexpr int kDnnNchw = 0, kDnnNhwc = 1;
// cudnnMathType_t
inline constexpr int kDnnDefaultMath = 0, kDnnTensorOpMath = 1, kDnnFmaMath = 3;
inline constexpr int kDnnCrossCorrelation = 1;
inline constexpr int kDnnActivationRelu = 1, kDnnActivationIdentity = 5, kDnnPropagateNan = 1;
// cudnnConvolutionFwdAlgo_t: the only one that adds a bias without an activation
inline constexpr int kDnnImplicitPrecompGemm = 1;
inline constexpr int kDnnDeterministic = 1;

struct CudnnApi {
  std::unique_ptr<SharedLibrary> library;

  const char* (*get_error_string)(cudnnStatus_t status);
  size_t (*version)();
  cudnnStatus_t (*create)(cudnnHandle_t* handle);
  cudnnStatus_t (*destroy)(cudnnHandle_t handle);
  cudnnStatus_t (*set_stream)(cudnnHandle_t handle, CUstream stream);
  cudnnStatus_t (*tensor_create)(cudnnTensorDescriptor_t* tensor);
  cudnnStatus_t (*tensor_destroy)(cudnnTensorDescriptor_t tensor);
  cudnnStatus_t (*tensor_set)(cudnnTensorDescriptor_t tensor, int format, int type, int rank, const int* sizes);
  cudnnStatus_t (*filter_create)(cudnnFilterDescriptor_t* filter);
  cudnnStatus_t (*filter_destroy)(cudnnFilterDescriptor_t filter);
  cudnnStatus_t (*filter_set)(cudnnFilterDescriptor_t filter, int type, int format, int rank, const int* sizes);
  cudnnStatus_t (*convolution_create)(cudnnConvolutionDescriptor_t* convolution);
  cudnnStatus_t (*convolution_destroy)(cudnnConvolutionDescriptor_t convolution);
  cudnnStatus_t (*convolution_set)(cudnnConvolutionDescriptor_t convolution, int spatial, const int* pads,
                                   const int* strides, const int* dilations, int mode, int compute_type);
  cudnnStatus_t (*convolution_set_math)(cudnnConvolutionDescriptor_t convolution, int math_type);
  cudnnStatus_t (*convolution_set_groups)(cudnnConvolutionDescriptor_t convolution, int groups);
  cudnnStatus_t (*activation_create)(cudnnActivationDescriptor_t* activation);
  cudnnStatus_t (*activation_destroy)(cudnnActivationDescriptor_t activation);
  cudnnStatus_t (*activation_set)(cudnnActivationDescriptor_t activation, int mode, int nan, double coefficient);
  cudnnStatus_t (*forward_algorithms)(cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
                                      cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t y,
                                      int requested, int* returned, cudnnAlgorithmPerf_t* results);
  cudnnStatus_t (*backward_algorithms)(cudnnHandle_t handle, cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t dy,
                                       cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t dx,
                                       int requested, int* returned, cudnnAlgorithmPerf_t* results);
  cudnnStatus_t (*forward)(cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t x_desc, const void* x,
                           cudnnFilterDescriptor_t w_desc, const void* w, cudnnConvolutionDescriptor_t convolution,
                           int algo, void* workspace, size_t workspace_bytes, const void* beta,
                           cudnnTensorDescriptor_t y_desc, void* y);
  cudnnStatus_t (*forward_fused)(cudnnHandle_t handle, const void* alpha1, cudnnTensorDescriptor_t x_desc,
                                 const void* x, cudnnFilterDescriptor_t w_desc, const void* w,
                                 cudnnConvolutionDescriptor_t convolution, int algo, void* workspace,
                                 size_t workspace_bytes, const void* alpha2, cudnnTensorDescriptor_t z_desc,
                                 const void* z, cudnnTensorDescriptor_t bias_desc, const void* bias,
                                 cudnnActivationDescriptor_t activation, cudnnTensorDescriptor_t y_desc, void* y);
  cudnnStatus_t (*backward_data)(cudnnHandle_t handle, const void* alpha, cudnnFilterDescriptor_t w_desc, const void* w,
                                 cudnnTensorDescriptor_t dy_desc, const void* dy,
                                 cudnnConvolutionDescriptor_t convolution, int algo, void* workspace,
                                 size_t workspace_bytes, const void* beta, cudnnTensorDescriptor_t dx_desc, void* dx);

  // Throws Error(unsupported) when there is no cuDNN, Error(internal) naming `what` for a failed call.
  static std::shared_ptr<const CudnnApi> open();
  void check(cudnnStatus_t status, std::string_view what) const;
};

}  // namespace lathe::cuda
