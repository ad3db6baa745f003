// NVRTC, the compiler of kernels at run time. Declared and opened as the driver is (driver.h).
#pragma once

#include <cstddef>
#include <memory>

#include "backends/cuda/api/shared_library.h"

namespace lathe::cuda {

using nvrtcProgram = struct _nvrtcProgram*;

struct NvrtcApi {
  std::unique_ptr<SharedLibrary> library;

  const char* (*get_error_string)(int result);
  int (*version)(int* major, int* minor);
  int (*create_program)(nvrtcProgram* program, const char* source, const char* name, int headers,
                        const char* const* header_texts, const char* const* header_names);
  int (*destroy_program)(nvrtcProgram* program);
  int (*compile_program)(nvrtcProgram program, int options, const char* const* option_texts);
  int (*get_log_size)(nvrtcProgram program, size_t* bytes);
  int (*get_log)(nvrtcProgram program, char* log);
  int (*get_ptx_size)(nvrtcProgram program, size_t* bytes);
  int (*get_ptx)(nvrtcProgram program, char* ptx);
  int (*get_cubin_size)(nvrtcProgram program, size_t* bytes);
  int (*get_cubin)(nvrtcProgram program, char* cubin);

  // Throws Error(unsupported) when there is no NVRTC.
  static std::shared_ptr<const NvrtcApi> open();
};

}  // namespace lathe::cuda
