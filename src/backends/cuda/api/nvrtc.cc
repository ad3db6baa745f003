#include "backends/cuda/api/nvrtc.h"

namespace lathe::cuda {

std::shared_ptr<const NvrtcApi> NvrtcApi::open() {
  constexpr const char* kNames[] = {"libnvrtc.so.13", "libnvrtc.so.12", "/usr/local/cuda/lib64/libnvrtc.so"};
  auto api = std::make_shared<NvrtcApi>();
  api->library = SharedLibrary::open(
      kNames,
      "Install the CUDA runtime compiler: the package nvidia-cuda-nvrtc from PyPI or cuda-nvrtc from NVIDIA, "
      "and let LD_LIBRARY_PATH name its folder");
  const SharedLibrary& lib = *api->library;
  lib.bind(api->get_error_string, "nvrtcGetErrorString");
  lib.bind(api->version, "nvrtcVersion");
  lib.bind(api->create_program, "nvrtcCreateProgram");
  lib.bind(api->destroy_program, "nvrtcDestroyProgram");
  lib.bind(api->compile_program, "nvrtcCompileProgram");
  lib.bind(api->get_log_size, "nvrtcGetProgramLogSize");
  lib.bind(api->get_log, "nvrtcGetProgramLog");
  lib.bind(api->get_ptx_size, "nvrtcGetPTXSize");
  lib.bind(api->get_ptx, "nvrtcGetPTX");
  lib.bind(api->get_cubin_size, "nvrtcGetCUBINSize");
  lib.bind(api->get_cubin, "nvrtcGetCUBIN");
  return api;
}

}  // namespace lathe::cuda
