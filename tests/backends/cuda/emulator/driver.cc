// libcuda.so.1 of the emulated GPU: the functions of the driver that Lathe calls. Modules are PTX text, streams run
// what they are given at once, and a recording is a list of what to run again. The device says that it is an A100
// (sm_80), so that sizes are cut as they are there; settings.h can make it another.
//
// A kernel that does what it must not is reported on standard error; as on a GPU, every call fails from then on.
#include "backends/cuda/api/driver.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <type_traits>

#include "tests/backends/cuda/emulator/device_memory.h"
#include "tests/backends/cuda/emulator/settings.h"
#include "tests/backends/cuda/emulator/warp.h"

namespace lathe::emulator {
namespace {

using cuda::CUcontext;
using cuda::CUdevice;
using cuda::CUdeviceptr;
using cuda::CUevent;
using cuda::CUfunction;
using cuda::CUgraph;
using cuda::CUgraphExec;
using cuda::CUlaunchConfig;
using cuda::CUmodule;
using cuda::CUresult;
using cuda::CUstream;
using cuda::CUtensorMap;
using cuda::kCudaOutOfMemory;
using cuda::kCudaSuccess;

constexpr CUresult kInvalidValue = 1, kInvalidDevice = 101, kInvalidPtx = 218, kUnsupportedPtx = 222, kNotFound = 500,
                   kNotSupported = 801;
constexpr int kCompilersDriver = 13000;  // the oldest that knows what the compiler writes
constexpr int kMultiprocessors = 108, kThreadsOfMultiprocessor = 2048;
constexpr size_t kSharedOfMultiprocessor = size_t{164} << 10, kMostShared = size_t{163} << 10;
constexpr size_t kSharedUnasked = size_t{48} << 10;  // what a block may have without being allowed more

using Operation = std::function<CUresult()>;
using Recording = std::vector<Operation>;

struct Function {
  const Kernel* kernel;
  size_t most_dynamic_shared = kSharedUnasked;
};
struct LoadedModule {
  std::unique_ptr<Module> program;
  std::vector<std::unique_ptr<Function>> functions;
};
struct Stream {
  std::unique_ptr<Recording> recording;  // while it is captured
};
struct Event {
  std::chrono::steady_clock::time_point time;
};

struct Device {
  std::mutex mutex;              // one operation at a time
  CUresult lost = kCudaSuccess;  // what every call gives after a fault
  uint64_t launches = 0, instructions = 0;
  std::chrono::duration<double> busy{};

  // With LATHE_EMULATED_GPU_REPORT in the environment, what it has done: on standard error, at the end.
  ~Device() {
    if (std::getenv("LATHE_EMULATED_GPU_REPORT") != nullptr)
      std::fprintf(stderr, "emulated GPU: %llu launches, %.1f million instructions of warps in %.2f s\n",
                   static_cast<unsigned long long>(launches), static_cast<double>(instructions) * 1e-6, busy.count());
  }
};
Device& device() {
  static Device the_device;
  return the_device;
}

// The driver's handles are pointers to types that only it knows.
template <class T, class Handle>
T* object(Handle handle) {
  return reinterpret_cast<T*>(handle);
}
template <class Handle, class T>
Handle handle(T* object) {
  return reinterpret_cast<Handle>(object);
}
std::byte* host(CUdeviceptr address) {
  return reinterpret_cast<std::byte*>(
      address);  // NOLINT(performance-no-int-to-ptr): the driver's addresses are integers
}
bool on_device(CUdeviceptr begin, size_t bytes) {
  const auto found = device_memory().find(begin);
  return found && found->holds(begin, begin + bytes);
}

CUresult run(const Operation& operation) {
  const std::lock_guard lock(device().mutex);
  return device().lost != kCudaSuccess ? device().lost : operation();
}
// Now, or whenever the recording is replayed.
CUresult submit(CUstream stream, Operation operation) {
  if (stream != nullptr && object<Stream>(stream)->recording != nullptr) {
    object<Stream>(stream)->recording->push_back(std::move(operation));
    return kCudaSuccess;
  }
  return run(operation);
}

CUresult run_kernel(const Launch& launch) {
  const auto begin = std::chrono::steady_clock::now();
  const std::optional<Fault> fault = run_launch(launch, device().instructions);
  device().busy += std::chrono::steady_clock::now() - begin;
  if (++device().launches > settings().lost_after) return device().lost = kLaunchFailed;
  if (!fault) return kCudaSuccess;
  std::fprintf(stderr, "emulated GPU: %s\n", fault->what.c_str());
  return device().lost = fault->code;
}

const char* name_of(CUresult error) {
  switch (error) {
    case kCudaSuccess: return "CUDA_SUCCESS";
    case kInvalidValue: return "CUDA_ERROR_INVALID_VALUE";
    case kCudaOutOfMemory: return "CUDA_ERROR_OUT_OF_MEMORY";
    case kInvalidDevice: return "CUDA_ERROR_INVALID_DEVICE";
    case kInvalidPtx: return "CUDA_ERROR_INVALID_PTX";
    case kUnsupportedPtx: return "CUDA_ERROR_UNSUPPORTED_PTX_VERSION";
    case kNotFound: return "CUDA_ERROR_NOT_FOUND";
    case kNotSupported: return "CUDA_ERROR_NOT_SUPPORTED";
    case kIllegalAddress: return "CUDA_ERROR_ILLEGAL_ADDRESS";
    case kLaunchTimeout: return "CUDA_ERROR_LAUNCH_TIMEOUT";
    case kIllegalInstruction: return "CUDA_ERROR_ILLEGAL_INSTRUCTION";
    case kMisalignedAddress: return "CUDA_ERROR_MISALIGNED_ADDRESS";
    case kLaunchFailed: return "CUDA_ERROR_LAUNCH_FAILED";
    default: return nullptr;
  }
}

}  // namespace
}  // namespace lathe::emulator

using namespace lathe::emulator;  // NOLINT(google-build-using-namespace): the driver's functions have no namespace

// Every function has the type that Lathe's table of the driver gives it.
#define DRIVER(Name, member, ...)                                                             \
  extern "C" __attribute__((visibility("default"))) CUresult Name(__VA_ARGS__);               \
  static_assert(std::is_same_v<decltype(&(Name)), decltype(lathe::cuda::DriverApi::member)>); \
  extern "C" CUresult Name(__VA_ARGS__)

// ---- the device ----

DRIVER(cuInit, init, unsigned) { return kCudaSuccess; }
DRIVER(cuDriverGetVersion, driver_get_version, int* version) {
  *version = settings().driver;
  return kCudaSuccess;
}
DRIVER(cuGetErrorName, get_error_name, CUresult error, const char** text) {
  *text = name_of(error);
  return *text == nullptr ? kInvalidValue : kCudaSuccess;
}
DRIVER(cuGetErrorString, get_error_string, CUresult error, const char** text) {
  *text = error == kCudaOutOfMemory ? "out of memory" : "error of the emulated GPU";
  return kCudaSuccess;
}
DRIVER(cuDeviceGetCount, device_get_count, int* count) {
  *count = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1 : 0;
  return kCudaSuccess;
}
DRIVER(cuDeviceGet, device_get, CUdevice* found, int ordinal) {
  *found = ordinal;
  return ordinal == 0 ? kCudaSuccess : kInvalidDevice;
}
DRIVER(cuDeviceGetName, device_get_name, char* name, int length, CUdevice) {
  std::snprintf(name, static_cast<size_t>(length), "emulated GPU");
  return kCudaSuccess;
}
DRIVER(cuDeviceGetAttribute, device_get_attribute, int* value, int attribute, CUdevice) {
  switch (attribute) {
    case lathe::cuda::kMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(kMostShared); return kCudaSuccess;
    case lathe::cuda::kMultiprocessorCount: *value = kMultiprocessors; return kCudaSuccess;
    case lathe::cuda::kComputeCapabilityMajor: *value = settings().arch / 10; return kCudaSuccess;
    case lathe::cuda::kComputeCapabilityMinor: *value = settings().arch % 10; return kCudaSuccess;
    case lathe::cuda::kL2CacheSize: *value = 40 << 20; return kCudaSuccess;
    default: return kInvalidValue;
  }
}
DRIVER(cuDeviceTotalMem_v2, device_total_mem, size_t* bytes, CUdevice) {
  *bytes = device_memory().total_bytes();
  return kCudaSuccess;
}
DRIVER(cuDevicePrimaryCtxRetain, primary_ctx_retain, CUcontext* context, CUdevice) {
  *context = handle<CUcontext>(&device());
  return kCudaSuccess;
}
DRIVER(cuDevicePrimaryCtxRelease_v2, primary_ctx_release, CUdevice) { return kCudaSuccess; }
DRIVER(cuCtxSetCurrent, ctx_set_current, CUcontext) { return kCudaSuccess; }
DRIVER(cuCtxSynchronize, ctx_synchronize) { return device().lost; }

// Private functions of the driver, by their number: there are none. The compiler asks, and fails where it cannot.
extern "C" __attribute__((visibility("default"))) CUresult cuGetExportTable(const void** table, const void*);
extern "C" CUresult cuGetExportTable(const void** table, const void*) {
  *table = nullptr;
  return kNotFound;
}

// ---- memory ----

DRIVER(cuMemGetInfo_v2, mem_get_info, size_t* free, size_t* total) {
  *free = device_memory().free_bytes();
  *total = device_memory().total_bytes();
  return kCudaSuccess;
}
DRIVER(cuMemAlloc_v2, mem_alloc, CUdeviceptr* pointer, size_t bytes) {
  if (device().lost != kCudaSuccess) return device().lost;
  if (bytes == 0) return kInvalidValue;
  *pointer = device_memory().allocate(bytes);
  return *pointer == 0 ? kCudaOutOfMemory : kCudaSuccess;
}
DRIVER(cuMemFree_v2, mem_free, CUdeviceptr pointer) {
  return pointer == 0 || device_memory().release(pointer) ? kCudaSuccess : kInvalidValue;
}
DRIVER(cuMemAllocHost_v2, mem_alloc_host, void** pointer, size_t bytes) {
  *pointer = std::malloc(bytes);
  return *pointer == nullptr ? kCudaOutOfMemory : kCudaSuccess;
}
DRIVER(cuMemFreeHost, mem_free_host, void* pointer) {
  std::free(pointer);
  return kCudaSuccess;
}
DRIVER(cuMemcpyHtoDAsync_v2, memcpy_htod_async, CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  if (!on_device(to, bytes)) return kInvalidValue;
  return submit(stream, [=] { return std::memcpy(host(to), from, bytes), kCudaSuccess; });
}
DRIVER(cuMemcpyDtoHAsync_v2, memcpy_dtoh_async, void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  if (!on_device(from, bytes)) return kInvalidValue;
  return submit(stream, [=] { return std::memcpy(to, host(from), bytes), kCudaSuccess; });
}
DRIVER(cuMemcpyDtoDAsync_v2, memcpy_dtod_async, CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  if (!on_device(to, bytes) || !on_device(from, bytes)) return kInvalidValue;
  return submit(stream, [=] { return std::memmove(host(to), host(from), bytes), kCudaSuccess; });
}
DRIVER(cuMemsetD8Async, memset_d8_async, CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  if (!on_device(to, count)) return kInvalidValue;
  return submit(stream, [=] { return std::memset(host(to), value, count), kCudaSuccess; });
}

// ---- streams, recordings, events ----

DRIVER(cuStreamCreate, stream_create, CUstream* stream, unsigned) {
  *stream = handle<CUstream>(new Stream());
  return kCudaSuccess;
}
DRIVER(cuStreamDestroy_v2, stream_destroy, CUstream stream) {
  delete object<Stream>(stream);
  return kCudaSuccess;
}
DRIVER(cuStreamSynchronize, stream_synchronize, CUstream) { return device().lost; }
DRIVER(cuStreamBeginCapture_v2, stream_begin_capture, CUstream stream, int) {
  object<Stream>(stream)->recording = std::make_unique<Recording>();
  return kCudaSuccess;
}
DRIVER(cuStreamEndCapture, stream_end_capture, CUstream stream, CUgraph* graph) {
  *graph = handle<CUgraph>(object<Stream>(stream)->recording.release());
  return *graph == nullptr ? kInvalidValue : kCudaSuccess;
}
DRIVER(cuGraphInstantiateWithFlags, graph_instantiate, CUgraphExec* executable, CUgraph graph, unsigned long long) {
  *executable = handle<CUgraphExec>(new Recording(*object<Recording>(graph)));
  return kCudaSuccess;
}
DRIVER(cuGraphLaunch, graph_launch, CUgraphExec executable, CUstream) {
  for (const Operation& operation : *object<Recording>(executable))
    if (const CUresult result = run(operation); result != kCudaSuccess) return result;
  return kCudaSuccess;
}
DRIVER(cuGraphExecDestroy, graph_exec_destroy, CUgraphExec executable) {
  delete object<Recording>(executable);
  return kCudaSuccess;
}
DRIVER(cuGraphDestroy, graph_destroy, CUgraph graph) {
  delete object<Recording>(graph);
  return kCudaSuccess;
}
DRIVER(cuEventCreate, event_create, CUevent* event, unsigned) {
  *event = handle<CUevent>(new Event());
  return kCudaSuccess;
}
DRIVER(cuEventDestroy_v2, event_destroy, CUevent event) {
  delete object<Event>(event);
  return kCudaSuccess;
}
DRIVER(cuEventRecord, event_record, CUevent event, CUstream) {
  object<Event>(event)->time = std::chrono::steady_clock::now();
  return kCudaSuccess;
}
DRIVER(cuEventSynchronize, event_synchronize, CUevent) { return device().lost; }
DRIVER(cuStreamWaitEvent, stream_wait_event, CUstream, CUevent, unsigned) { return kCudaSuccess; }
DRIVER(cuEventElapsedTime, event_elapsed_time, float* milliseconds, CUevent begin, CUevent end) {
  *milliseconds =
      std::chrono::duration<float, std::milli>(object<Event>(end)->time - object<Event>(begin)->time).count();
  return kCudaSuccess;
}

// ---- kernels ----

DRIVER(cuModuleLoadData, module_load_data, CUmodule* module, const void* image) try {
  if (settings().driver < kCompilersDriver) return kUnsupportedPtx;
  auto loaded = std::make_unique<LoadedModule>();
  loaded->program = parse_module(static_cast<const char*>(image));
  for (const auto& [begin, bytes] : loaded->program->variables)
    device_memory().add(reinterpret_cast<uintptr_t>(begin), bytes);
  *module = handle<CUmodule>(loaded.release());
  return kCudaSuccess;
} catch (const PtxError& error) {
  std::fprintf(stderr, "emulated GPU: PTX that cannot be run: %s\n", error.what());
  return kInvalidPtx;
}
DRIVER(cuModuleUnload, module_unload, CUmodule module) {
  for (const auto& [begin, bytes] : object<LoadedModule>(module)->program->variables)
    device_memory().remove(reinterpret_cast<uintptr_t>(begin));
  delete object<LoadedModule>(module);
  return kCudaSuccess;
}
DRIVER(cuModuleGetFunction, module_get_function, CUfunction* function, CUmodule module, const char* name) {
  LoadedModule& loaded = *object<LoadedModule>(module);
  const auto found = loaded.program->kernels.find(name);
  if (found == loaded.program->kernels.end()) return kNotFound;
  loaded.functions.push_back(std::make_unique<Function>(Function{&found->second}));
  *function = handle<CUfunction>(loaded.functions.back().get());
  return kCudaSuccess;
}
DRIVER(cuFuncGetAttribute, func_get_attribute, int* value, int attribute, CUfunction function) {
  if (attribute != lathe::cuda::kFunctionSharedBytes) return kInvalidValue;
  *value = static_cast<int>(object<Function>(function)->kernel->shared_bytes);
  return kCudaSuccess;
}
DRIVER(cuFuncSetAttribute, func_set_attribute, CUfunction function, int attribute, int value) {
  if (attribute != lathe::cuda::kFunctionMaxDynamicShared || value < 0 ||
      object<Function>(function)->kernel->shared_bytes + static_cast<size_t>(value) > kMostShared)
    return kInvalidValue;
  object<Function>(function)->most_dynamic_shared = static_cast<size_t>(value);
  return kCudaSuccess;
}
DRIVER(cuLaunchKernelEx, launch_kernel, const CUlaunchConfig* config, CUfunction function, void** arguments, void**) {
  const Function& target = *object<Function>(function);
  constexpr unsigned kMostYz = 65535;
  Launch launch{target.kernel,
                {config->grid_x, config->grid_y, config->grid_z},
                {config->block_x, config->block_y, config->block_z},
                target.kernel->shared_bytes + config->shared_bytes,
                std::vector<std::byte>(target.kernel->param_bytes)};
  if (launch.block.volume() == 0 || launch.block.volume() > target.kernel->max_threads || launch.grid.x == 0 ||
      launch.grid.x > 0x7fffffff || launch.grid.y == 0 || launch.grid.y > kMostYz || launch.grid.z == 0 ||
      launch.grid.z > kMostYz || config->shared_bytes > target.most_dynamic_shared)
    return kInvalidValue;
  for (const auto& [at, bytes] : target.kernel->params) std::memcpy(launch.params.data() + at, *arguments++, bytes);
  return submit(config->stream, [launch = std::move(launch)] { return run_kernel(launch); });
}
DRIVER(cuOccupancyMaxActiveBlocksPerMultiprocessor, occupancy, int* blocks, CUfunction function, int threads,
       size_t shared) {
  const size_t bytes = object<Function>(function)->kernel->shared_bytes + shared;
  const int by_shared = static_cast<int>(kSharedOfMultiprocessor / std::max<size_t>(bytes, 1024));
  *blocks = std::clamp(kThreadsOfMultiprocessor / std::max(threads, 1), 0, by_shared);
  return kCudaSuccess;
}
DRIVER(cuTensorMapEncodeTiled, tensor_map_encode_tiled, CUtensorMap*, int, uint32_t, void*, const uint64_t*,
       const uint64_t*, const uint32_t*, const uint32_t*, int, int, int, int) {
  return kNotSupported;
}
