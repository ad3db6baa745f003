// libnvrtc.so.13 of the emulated GPU: NVIDIA's compiler, but what it hands out as machine code is PTX. That is what the
// emulated driver runs, and the assembler, which takes most of the time of a compilation, has nothing to do.
//
// NVIDIA's library is the next one of this name in LD_LIBRARY_PATH.
#include "backends/cuda/api/nvrtc.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace {

using lathe::cuda::nvrtcProgram;

constexpr int kInternalError = 11;

bool is_this_library(const std::filesystem::path& path) {
  Dl_info info;
  std::error_code error;
  return dladdr(reinterpret_cast<void*>(&is_this_library), &info) != 0 &&
         std::filesystem::equivalent(path, info.dli_fname, error);
}

// Null when there is none.
void* open_compiler() {
  const char* const folders = std::getenv("LD_LIBRARY_PATH");
  std::string_view rest = folders == nullptr ? "" : folders;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    const std::filesystem::path path = std::filesystem::path(rest.substr(0, end)) / "libnvrtc.so.13";
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (!std::filesystem::exists(path) || is_this_library(path)) continue;
    if (void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL); library != nullptr) return library;
  }
  return nullptr;
}

template <class F>
F* compilers(const char* name) {
  static void* const library = open_compiler();
  return library == nullptr ? nullptr : reinterpret_cast<F*>(dlsym(library, name));
}

template <class... Parameters>
int forward(const char* name, Parameters... arguments) {
  auto* const function = compilers<int(Parameters...)>(name);
  return function == nullptr ? kInternalError : function(arguments...);
}

}  // namespace

// Every function has the type that Lathe's table of the compiler gives it.
#define NVRTC(Result, Name, member, ...)                                                     \
  extern "C" __attribute__((visibility("default"))) Result Name(__VA_ARGS__);                \
  static_assert(std::is_same_v<decltype(&(Name)), decltype(lathe::cuda::NvrtcApi::member)>); \
  extern "C" Result Name(__VA_ARGS__)

NVRTC(const char*, nvrtcGetErrorString, get_error_string, int result) {
  auto* const function = compilers<const char*(int)>("nvrtcGetErrorString");
  return function == nullptr ? "NVIDIA's libnvrtc.so.13 is not in LD_LIBRARY_PATH" : function(result);
}
NVRTC(int, nvrtcVersion, version, int* major, int* minor) { return forward("nvrtcVersion", major, minor); }
NVRTC(int, nvrtcCreateProgram, create_program, nvrtcProgram* program, const char* source, const char* name, int headers,
      const char* const* header_texts, const char* const* header_names) {
  return forward("nvrtcCreateProgram", program, source, name, headers, header_texts, header_names);
}
NVRTC(int, nvrtcDestroyProgram, destroy_program, nvrtcProgram* program) {
  return forward("nvrtcDestroyProgram", program);
}
// For the virtual architecture of the one that is asked for, which ends in PTX.
NVRTC(int, nvrtcCompileProgram, compile_program, nvrtcProgram program, int count, const char* const* options) {
  constexpr std::string_view kArchitecture = "--gpu-architecture=sm_";
  std::vector<const char*> kept;
  std::string architecture;
  for (const std::string_view option : std::vector<std::string_view>(options, options + count)) {
    if (option.starts_with("--ptxas-options")) continue;
    if (option.starts_with(kArchitecture))
      architecture = "--gpu-architecture=compute_" + std::string(option.substr(kArchitecture.size()));
    kept.push_back(option.starts_with(kArchitecture) ? architecture.c_str() : option.data());
  }
  return forward("nvrtcCompileProgram", program, static_cast<int>(kept.size()),
                 static_cast<const char* const*>(kept.data()));
}
NVRTC(int, nvrtcGetProgramLogSize, get_log_size, nvrtcProgram program, size_t* bytes) {
  return forward("nvrtcGetProgramLogSize", program, bytes);
}
NVRTC(int, nvrtcGetProgramLog, get_log, nvrtcProgram program, char* log) {
  return forward("nvrtcGetProgramLog", program, log);
}
NVRTC(int, nvrtcGetPTXSize, get_ptx_size, nvrtcProgram program, size_t* bytes) {
  return forward("nvrtcGetPTXSize", program, bytes);
}
NVRTC(int, nvrtcGetPTX, get_ptx, nvrtcProgram program, char* ptx) { return forward("nvrtcGetPTX", program, ptx); }
NVRTC(int, nvrtcGetCUBINSize, get_cubin_size, nvrtcProgram program, size_t* bytes) {
  return forward("nvrtcGetPTXSize", program, bytes);
}
NVRTC(int, nvrtcGetCUBIN, get_cubin, nvrtcProgram program, char* cubin) {
  return forward("nvrtcGetPTX", program, cubin);
}
