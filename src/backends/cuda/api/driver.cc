#include "backends/cuda/api/driver.h"

namespace lathe::cuda {

std::shared_ptr<const DriverApi> DriverApi::open() {
  constexpr const char* kNames[] = {"libcuda.so.1"};
  auto api = std::make_shared<DriverApi>();
  api->library = SharedLibrary::open(kNames, "Install the NVIDIA driver (nvidia-smi must list the GPU)");
  const SharedLibrary& lib = *api->library;
  lib.bind(api->init, "cuInit");
  lib.bind(api->driver_get_version, "cuDriverGetVersion");
  lib.bind(api->get_error_name, "cuGetErrorName");
  lib.bind(api->get_error_string, "cuGetErrorString");
  lib.bind(api->device_get_count, "cuDeviceGetCount");
  lib.bind(api->device_get, "cuDeviceGet");
  lib.bind(api->device_get_name, "cuDeviceGetName");
  lib.bind(api->device_get_attribute, "cuDeviceGetAttribute");
  lib.bind(api->device_total_mem, "cuDeviceTotalMem_v2");
  lib.bind(api->primary_ctx_retain, "cuDevicePrimaryCtxRetain");
  lib.bind(api->primary_ctx_release, "cuDevicePrimaryCtxRelease_v2");
  lib.bind(api->ctx_set_current, "cuCtxSetCurrent");
  lib.bind(api->ctx_synchronize, "cuCtxSynchronize");
  lib.bind(api->mem_get_info, "cuMemGetInfo_v2");
  lib.bind(api->mem_alloc, "cuMemAlloc_v2");
  lib.bind(api->mem_free, "cuMemFree_v2");
  lib.bind(api->mem_alloc_host, "cuMemAllocHost_v2");
  lib.bind(api->mem_free_host, "cuMemFreeHost");
  lib.bind(api->memcpy_htod_async, "cuMemcpyHtoDAsync_v2");
  lib.bind(api->memcpy_dtoh_async, "cuMemcpyDtoHAsync_v2");
  lib.bind(api->memcpy_dtod_async, "cuMemcpyDtoDAsync_v2");
  lib.bind(api->memset_d8_async, "cuMemsetD8Async");
  lib.bind(api->stream_create, "cuStreamCreate");
  lib.bind(api->stream_destroy, "cuStreamDestroy_v2");
  lib.bind(api->stream_synchronize, "cuStreamSynchronize");
  lib.bind(api->stream_begin_capture, "cuStreamBeginCapture_v2");
  lib.bind(api->stream_end_capture, "cuStreamEndCapture");
  lib.bind(api->graph_instantiate, "cuGraphInstantiateWithFlags");
  lib.bind(api->graph_launch, "cuGraphLaunch");
  lib.bind(api->graph_exec_destroy, "cuGraphExecDestroy");
  lib.bind(api->graph_destroy, "cuGraphDestroy");
  lib.bind(api->event_create, "cuEventCreate");
  lib.bind(api->event_destroy, "cuEventDestroy_v2");
  lib.bind(api->event_record, "cuEventRecord");
  lib.bind(api->event_synchronize, "cuEventSynchronize");
  lib.bind(api->stream_wait_event, "cuStreamWaitEvent");
  lib.bind(api->event_elapsed_time, "cuEventElapsedTime");
  lib.bind(api->module_load_data, "cuModuleLoadData");
  lib.bind(api->module_unload, "cuModuleUnload");
  lib.bind(api->module_get_function, "cuModuleGetFunction");
  lib.bind(api->func_get_attribute, "cuFuncGetAttribute");
  lib.bind(api->func_set_attribute, "cuFuncSetAttribute");
  lib.bind(api->launch_kernel, "cuLaunchKernelEx");
  lib.bind(api->occupancy, "cuOccupancyMaxActiveBlocksPerMultiprocessor");
  lib.bind(api->tensor_map_encode_tiled, "cuTensorMapEncodeTiled");
  api->check(api->init(0), "starting the CUDA driver");
  return api;
}

void DriverApi::check(CUresult result, std::string_view what) const {
  if (result == kCudaSuccess) return;
  const char *name = nullptr, *text = nullptr;
  get_error_name(result, &name);
  get_error_string(result, &text);
  throw driver_error(result, name != nullptr ? name : "?", text != nullptr ? text : "unknown error", what);
}

Error driver_error(CUresult result, std::string_view name, std::string_view text, std::string_view what) {
  struct Meaning {
    CUresult first, last;  // results of this kind
    ErrorCode code;
    std::string_view remedy;
  };
  constexpr std::string_view kLost =
      "The GPU has lost the state of this process: start it again. If that repeats, `dmesg` tells why (Xid)";
  constexpr std::string_view kOldDriver =
      "The driver is older than the compiler of the kernel: update the driver, or install an older NVRTC";
  constexpr std::string_view kBadInstall = "Driver and kernel module do not fit each other: restart after the update";
  constexpr std::string_view kNoDevice = "nvidia-smi must list a GPU; a container needs one given (--gpus all)";
  constexpr Meaning kMeanings[] = {
      {kCudaOutOfMemory, kCudaOutOfMemory, ErrorCode::out_of_memory, "Use smaller sizes, or free memory on the GPU"},
      {46, 46, ErrorCode::unsupported, "Another process has the GPU for itself"},
      {100, 101, ErrorCode::unsupported, kNoDevice},
      {200, 200, ErrorCode::unsupported, kOldDriver},
      {209, 209, ErrorCode::unsupported, kOldDriver},
      {214, 214, ErrorCode::internal, kLost},
      {222, 222, ErrorCode::unsupported, kOldDriver},
      {700, 700, ErrorCode::internal, kLost},
      {702, 702, ErrorCode::internal, kLost},
      {709, 719, ErrorCode::internal, kLost},
      {803, 804, ErrorCode::unsupported, kBadInstall}};
  Error error(ErrorCode::internal, fmt::format("{}: {} ({})", what, text, name));
  for (const Meaning& meaning : kMeanings)
    if (result >= meaning.first && result <= meaning.last)
      error = Error(meaning.code, error.message()).remedy(meaning.remedy);
  return error;
}

}  // namespace lathe::cuda
