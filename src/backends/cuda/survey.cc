#include "backends/cuda/survey.h"

#include "backends/cuda/api/cublaslt.h"
#include "backends/cuda/api/cudnn.h"
#include "backends/cuda/api/nvrtc.h"
#include "backends/cuda/device.h"

namespace lathe::cuda {
namespace {

std::string driver_version() {
  const auto driver = DriverApi::open();
  int version = 0;  // 13000 is 13.0
  driver->check(driver->driver_get_version(&version), "asking for the driver's version");
  return fmt::format("CUDA {}.{}", version / 1000, version % 1000 / 10);
}

std::string nvrtc_version() {
  int major = 0, minor = 0;
  NvrtcApi::open()->version(&major, &minor);
  return fmt::format("{}.{}", major, minor);
}

// What a compiler writes may be unknown to a driver of an older CUDA; empty where that is not so.
std::string why_kernels_may_not_load() try {
  int driver = 0, major = 0, minor = 0;
  const auto api = DriverApi::open();
  api->check(api->driver_get_version(&driver), "asking for the driver's version");
  NvrtcApi::open()->version(&major, &minor);
  if (major <= driver / 1000) return {};
  return fmt::format("It is newer than the driver: update the driver, or install NVRTC {}", driver / 1000);
} catch (const Error&) {
  return {};
}

// As the libraries count: 130100 is 13.1.0.
std::string spelled_out(size_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

std::string cublaslt_version() { return spelled_out(CublasLtApi::open()->version()); }
std::string cudnn_version() { return spelled_out(CudnnApi::open()->version()); }

std::string nccl_version() {
  constexpr const char* kNames[] = {"libnccl.so.2"};
  const auto library = SharedLibrary::open(
      kNames, "Install the package nvidia-nccl-cu13 from PyPI, and let LD_LIBRARY_PATH name its folder");
  int (*get_version)(int*) = nullptr;
  library->bind(get_version, "ncclGetVersion");
  int version = 0;
  get_version(&version);
  return spelled_out(static_cast<size_t>(version));
}

struct Library {
  std::string_view name, purpose;
  bool required;
  std::string (*version)();  // throws Error when the library cannot be used
};

constexpr Library kLibraries[] = {{"driver", "runs everything", true, driver_version},
                                  {"NVRTC", "compiles kernels", true, nvrtc_version},
                                  {"cuBLASLt", "large matrix products", false, cublaslt_version},
                                  {"cuDNN", "convolutions", false, cudnn_version},
                                  {"NCCL", "several GPUs, not used yet", false, nccl_version}};

}  // namespace

std::vector<LibraryReport> survey_libraries() {
  std::vector<LibraryReport> reports;
  for (const Library& library : kLibraries) {
    LibraryReport& report =
        reports.emplace_back(LibraryReport{library.name, library.purpose, library.required, {}, {}, {}});
    try {
      report.version = library.version();
      if (library.name == "NVRTC") report.remedy = why_kernels_may_not_load();
    } catch (const Error& error) {
      report.problem = error.message();
      report.remedy = error.remedy_text();
    }
  }
  return reports;
}

std::string why_unusable(int ordinal) try {
  for (const Library& library : kLibraries)
    if (library.required) library.version();
  Device::open(ordinal);
  return {};
} catch (const Error& error) {
  return error.what();
}

}  // namespace lathe::cuda
