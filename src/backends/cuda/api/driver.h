// The CUDA driver, libcuda.so.1: the functions that Lathe calls, declared here so that no CUDA header is needed to
// build, and opened when a GPU is asked for. Names, types and values are the driver's own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "backends/cuda/api/shared_library.h"

namespace lathe::cuda {

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = uint64_t;
using CUcontext = struct CUctx_st*;
using CUmodule = struct CUmod_st*;
using CUfunction = struct CUfunc_st*;
using CUstream = struct CUstream_st*;
using CUevent = struct CUevent_st*;
using CUgraph = struct CUgraph_st*;
using CUgraphExec = struct CUgraphExec_st*;
struct CUtensorMap {
  alignas(64) uint64_t opaque[16];
};

struct CUlaunchAttribute {
  int id;
  union alignas(8) {
    struct {
      unsigned x, y, z;
    } cluster;
    int programmatic;
    char padding[64];
  } value;
};
struct CUlaunchConfig {
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
  CUstream stream;
  CUlaunchAttribute* attributes;
  unsigned attribute_count;
};

inline constexpr CUresult kCudaSuccess = 0;
inline constexpr CUresult kCudaOutOfMemory = 2;

// CUdevice_attribute
inline constexpr int kMaxSharedMemoryPerBlockOptin = 97;
inline constexpr int kMultiprocessorCount = 16;
inline constexpr int kComputeCapabilityMajor = 75;
inline constexpr int kComputeCapabilityMinor = 76;
inline constexpr int kL2CacheSize = 38;

// CUfunction_attribute
inline constexpr int kFunctionSharedBytes = 1;  // that it has without being asked for more
inline constexpr int kFunctionMaxDynamicShared = 8;

// CUlaunchAttributeID
inline constexpr int kLaunchClusterDimension = 4;
inline constexpr int kLaunchProgrammaticSerialization = 6;

inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr int kCaptureThreadLocal = 1;
inline constexpr unsigned kEventDefault = 0, kEventDisableTiming = 2;

struct DriverApi {
  std::unique_ptr<SharedLibrary> library;

  CUresult (*init)(unsigned flags);
  CUresult (*driver_get_version)(int* version);
  CUresult (*get_error_name)(CUresult error, const char** text);
  CUresult (*get_error_string)(CUresult error, const char** text);
  CUresult (*device_get_count)(int* count);
  CUresult (*device_get)(CUdevice* device, int ordinal);
  CUresult (*device_get_name)(char* name, int length, CUdevice device);
  CUresult (*device_get_attribute)(int* value, int attribute, CUdevice device);
  CUresult (*device_total_mem)(size_t* bytes, CUdevice device);
  CUresult (*primary_ctx_retain)(CUcontext* context, CUdevice device);
  CUresult (*primary_ctx_release)(CUdevice device);
  CUresult (*ctx_set_current)(CUcontext context);
  CUresult (*ctx_synchronize)();
  CUresult (*mem_get_info)(size_t* free, size_t* total);
  CUresult (*mem_alloc)(CUdeviceptr* pointer, size_t bytes);
  CUresult (*mem_free)(CUdeviceptr pointer);
  CUresult (*mem_alloc_host)(void** pointer, size_t bytes);
  CUresult (*mem_free_host)(void* pointer);
  CUresult (*memcpy_htod_async)(CUdeviceptr to, const void* from, size_t bytes, CUstream stream);
  CUresult (*memcpy_dtoh_async)(void* to, CUdeviceptr from, size_t bytes, CUstream stream);
  CUresult (*memcpy_dtod_async)(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream);
  CUresult (*memset_d8_async)(CUdeviceptr to, unsigned char value, size_t count, CUstream stream);
  CUresult (*stream_create)(CUstream* stream, unsigned flags);
  CUresult (*stream_destroy)(CUstream stream);
  CUresult (*stream_synchronize)(CUstream stream);
  CUresult (*stream_begin_capture)(CUstream stream, int mode);
  CUresult (*stream_end_capture)(CUstream stream, CUgraph* graph);
  CUresult (*graph_instantiate)(CUgraphExec* executable, CUgraph graph, unsigned long long flags);
  CUresult (*graph_launch)(CUgraphExec executable, CUstream stream);
  CUresult (*graph_exec_destroy)(CUgraphExec executable);
  CUresult (*graph_destroy)(CUgraph graph);
  CUresult (*event_create)(CUevent* event, unsigned flags);
  CUresult (*event_destroy)(CUevent event);
  CUresult (*event_record)(CUevent event, CUstream stream);
  CUresult (*event_synchronize)(CUevent event);
  CUresult (*stream_wait_event)(CUstream stream, CUevent event, unsigned flags);
  CUresult (*event_elapsed_time)(float* milliseconds, CUevent begin, CUevent end);
  CUresult (*module_load_data)(CUmodule* module, const void* image);
  CUresult (*module_unload)(CUmodule module);
  CUresult (*module_get_function)(CUfunction* function, CUmodule module, const char* name);
  CUresult (*func_get_attribute)(int* value, int attribute, CUfunction function);
  CUresult (*func_set_attribute)(CUfunction function, int attribute, int value);
  CUresult (*launch_kernel)(const CUlaunchConfig* config, CUfunction function, void** arguments, void** extra);
  CUresult (*occupancy)(int* blocks, CUfunction function, int threads, size_t shared_bytes);
  CUresult (*tensor_map_encode_tiled)(CUtensorMap* map, int dtype, uint32_t rank, void* address, const uint64_t* sizes,
                                      const uint64_t* strides, const uint32_t* box, const uint32_t* element_strides,
                                      int interleave, int swizzle, int l2_promotion, int out_of_bounds_fill);

  // Throws Error(unsupported) without a driver, Error(out_of_memory) or Error(internal) naming `what` for a failed
  // call.
  static std::shared_ptr<const DriverApi> open();
  void check(CUresult result, std::string_view what) const;
};

// What a failed call of the driver means to people, and what they can do. `name` and `text` are the driver's words.
Error driver_error(CUresult result, std::string_view name, std::string_view text, std::string_view what);

}  // namespace lathe::cuda
