#include "backends/cuda/api/cublaslt.h"

namespace lathe::cuda {

std::shared_ptr<const CublasLtApi> CublasLtApi::open() {
  constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so"};
  auto api = std::make_shared<CublasLtApi>();
  api->library = SharedLibrary::open(
      kNames, "Install the package nvidia-cublas from PyPI, and let LD_LIBRARY_PATH name its folder");
  const SharedLibrary& lib = *api->library;
  lib.bind(api->version, "cublasLtGetVersion");
  lib.bind(api->create, "cublasLtCreate");
  lib.bind(api->destroy, "cublasLtDestroy");
  lib.bind(api->desc_create, "cublasLtMatmulDescCreate");
  lib.bind(api->desc_destroy, "cublasLtMatmulDescDestroy");
  lib.bind(api->desc_set, "cublasLtMatmulDescSetAttribute");
  lib.bind(api->layout_create, "cublasLtMatrixLayoutCreate");
  lib.bind(api->layout_destroy, "cublasLtMatrixLayoutDestroy");
  lib.bind(api->layout_set, "cublasLtMatrixLayoutSetAttribute");
  lib.bind(api->preference_create, "cublasLtMatmulPreferenceCreate");
  lib.bind(api->preference_destroy, "cublasLtMatmulPreferenceDestroy");
  lib.bind(api->preference_set, "cublasLtMatmulPreferenceSetAttribute");
  lib.bind(api->heuristic, "cublasLtMatmulAlgoGetHeuristic");
  lib.bind(api->algo_check, "cublasLtMatmulAlgoCheck");
  lib.bind(api->matmul, "cublasLtMatmul");
  return api;
}

void CublasLtApi::check(cublasStatus_t status, std::string_view what) const {
  if (status != 0) fail(ErrorCode::internal, "cuBLASLt, {}: status {}", what, status);
}

}  // namespace lathe::cuda
