// cuBLASLt, matrix products by NVIDIA. Declared and opened as the driver is (driver.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "backends/cuda/api/driver.h"

namespace lathe::cuda {

using cublasStatus_t = int;
using cublasLtHandle_t = struct cublasLtContext*;
using cublasLtMatmulDesc_t = struct cublasLtMatmulDescOpaque*;
using cublasLtMatrixLayout_t = struct cublasLtMatrixLayoutOpaque*;
using cublasLtMatmulPreference_t = struct cublasLtMatmulPreferenceOpaque*;

struct cublasLtMatmulAlgo_t {
  uint64_t data[8];
};
struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  size_t workspaceSize;
  cublasStatus_t state;
  float wavesCount;
  int reserved[4];
};

// cudaDataType
inline constexpr int kCudaR32F = 0, kCudaR64F = 1, kCudaR16F = 2, kCudaR8I = 3, kCudaR32I = 10, kCudaR16BF = 14,
                     kCudaR8FE4M3 = 28;
// cublasComputeType_t
inline constexpr int kCompute32F = 68, kCompute64F = 70, kCompute32I = 72, kCompute32FFastTf32 = 77;
// cublasOperation_t
inline constexpr int32_t kOpNone = 0, kOpTranspose = 1;
// cublasLtMatmulDescAttributes_t
inline constexpr int kDescTransA = 3, kDescTransB = 4, kDescEpilogue = 7, kDescBiasPointer = 8;
// cublasLtMatrixLayoutAttribute_t
inline constexpr int kLayoutBatchCount = 5, kLayoutBatchStride = 6;
// cublasLtMatmulPreferenceAttributes_t
inline constexpr int kPreferMaxWorkspace = 1, kPreferAlignmentA = 5, kPreferAlignmentB = 6, kPreferAlignmentC = 7,
                     kPreferAlignmentD = 8;
// cublasLtEpilogue_t, combined by or
inline constexpr uint32_t kEpilogueDefault = 1, kEpilogueRelu = 2, kEpilogueBias = 4, kEpilogueGelu = 32;

struct CublasLtApi {
  std::unique_ptr<SharedLibrary> library;

  size_t (*version)();
  cublasStatus_t (*create)(cublasLtHandle_t* handle);
  cublasStatus_t (*destroy)(cublasLtHandle_t handle);
  cublasStatus_t (*desc_create)(cublasLtMatmulDesc_t* desc, int compute_type, int scale_type);
  cublasStatus_t (*desc_destroy)(cublasLtMatmulDesc_t desc);
  cublasStatus_t (*desc_set)(cublasLtMatmulDesc_t desc, int attribute, const void* value, size_t bytes);
  cublasStatus_t (*layout_create)(cublasLtMatrixLayout_t* layout, int type, uint64_t rows, uint64_t columns,
                                  int64_t leading);
  cublasStatus_t (*layout_destroy)(cublasLtMatrixLayout_t layout);
  cublasStatus_t (*layout_set)(cublasLtMatrixLayout_t layout, int attribute, const void* value, size_t bytes);
  cublasStatus_t (*preference_create)(cublasLtMatmulPreference_t* preference);
  cublasStatus_t (*preference_destroy)(cublasLtMatmulPreference_t preference);
  cublasStatus_t (*preference_set)(cublasLtMatmulPreference_t preference, int attribute, const void* value,
                                   size_t bytes);
  cublasStatus_t (*heuristic)(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                              cublasLtMatmulPreference_t preference, int requested,
                              cublasLtMatmulHeuristicResult_t* results, int* found);
  cublasStatus_t (*algo_check)(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                               cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                               const cublasLtMatmulAlgo_t* algo, cublasLtMatmulHeuristicResult_t* result);
  cublasStatus_t (*matmul)(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                           cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                           const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                           cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo, void* workspace,
                           size_t workspace_bytes, CUstream stream);

  // Throws Error(unsupported) when there is no cuBLASLt, Error(internal) naming `what` for a failed call.
  static std::shared_ptr<const CublasLtApi> open();
  void check(cublasStatus_t status, std::string_view what) const;
};

}  // namespace lathe::cuda
