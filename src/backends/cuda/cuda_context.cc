#include "backends/cuda/cuda_context.h"

#include <algorithm>
#include <cstring>

namespace lathe::cuda {
namespace {

constexpr size_t kMaxPinned = size_t{64} << 20;  // larger transfers go through the driver's own staging
constexpr size_t kPinnedAlignment = 64;

class CudaGraph : public Recording {
 public:
  CudaGraph(std::shared_ptr<const Device> device, CUgraph graph) : device_(std::move(device)) {
    const CUresult result = device_->driver().graph_instantiate(&executable_, graph, 0);
    device_->driver().graph_destroy(graph);
    device_->check(result, "making a CUDA graph");
  }
  ~CudaGraph() override { device_->driver().graph_exec_destroy(executable_); }

  void launch(CUstream stream) { device_->check(device_->driver().graph_launch(executable_, stream), "replaying"); }

 private:
  std::shared_ptr<const Device> device_;
  CUgraphExec executable_ = nullptr;
};

}  // namespace

CudaContext::CudaContext(std::shared_ptr<const Device> device) : device_(std::move(device)) {
  device_->make_current();
  device_->check(device_->driver().stream_create(&stream_, kStreamNonBlocking), "making a stream");
}

CudaContext::~CudaContext() {
  if (pinned_ != nullptr) device_->driver().mem_free_host(pinned_);
  device_->driver().stream_destroy(stream_);
}

// Between runs, when nothing is under way, pinned memory grows to what the last ones would have liked.
void CudaContext::begin_run() {
  device_->make_current();
  if (pinned_used_ != 0 || pinned_wanted_ <= pinned_bytes_) return;
  if (pinned_ != nullptr) device_->driver().mem_free_host(pinned_);
  pinned_ = nullptr;
  pinned_bytes_ = 0;
  void* memory = nullptr;
  device_->check(device_->driver().mem_alloc_host(&memory, pinned_wanted_), "allocating pinned memory");
  pinned_ = static_cast<std::byte*>(memory);
  pinned_bytes_ = pinned_wanted_;
}

// Null when there is not as much; the driver then stages the copy itself.
std::byte* CudaContext::take_pinned(size_t bytes) {
  const size_t end = pinned_used_ + (bytes + kPinnedAlignment - 1) / kPinnedAlignment * kPinnedAlignment;
  if (end > kMaxPinned) return nullptr;
  pinned_wanted_ = std::max(pinned_wanted_, end);
  if (end > pinned_bytes_) return nullptr;
  std::byte* memory = pinned_ + pinned_used_;
  pinned_used_ = end;
  return memory;
}

void* CudaContext::allocate(size_t bytes) {
  device_->make_current();
  CUdeviceptr pointer = 0;
  device_->check(device_->driver().mem_alloc(&pointer, bytes), fmt::format("allocating {} bytes on the GPU", bytes));
  return reinterpret_cast<void*>(pointer);
}

void CudaContext::release(void* memory) noexcept { device_->driver().mem_free(address(memory)); }

void CudaContext::upload(void* device, std::span<const std::byte> host) {
  if (host.empty()) return;
  const std::byte* source = host.data();
  if (std::byte* pinned = take_pinned(host.size()); pinned != nullptr) {
    std::memcpy(pinned, host.data(), host.size());
    source = pinned;
  }
  device_->check(device_->driver().memcpy_htod_async(address(device), source, host.size(), stream_),
                 "copying to the GPU");
}

void CudaContext::download(std::span<std::byte> host, const void* device) {
  if (host.empty()) return;
  std::byte* pinned = take_pinned(host.size());
  void* target = pinned != nullptr ? pinned : host.data();
  device_->check(device_->driver().memcpy_dtoh_async(target, address(device), host.size(), stream_),
                 "copying from the GPU");
  synchronize();
  if (pinned != nullptr) std::memcpy(host.data(), pinned, host.size());
}

void CudaContext::copy(void* destination, const void* source, size_t bytes) {
  if (bytes == 0) return;
  device_->check(device_->driver().memcpy_dtod_async(address(destination), address(source), bytes, stream_),
                 "copying on the GPU");
}

void CudaContext::synchronize() {
  device_->check(device_->driver().stream_synchronize(stream_), "waiting for the GPU");
  pinned_used_ = 0;
}

void CudaContext::begin_recording() {
  device_->check(device_->driver().stream_begin_capture(stream_, kCaptureThreadLocal), "recording a run");
}

std::unique_ptr<Recording> CudaContext::end_recording() {
  CUgraph graph = nullptr;
  device_->check(device_->driver().stream_end_capture(stream_, &graph), "recording a run");
  return std::make_unique<CudaGraph>(device_, graph);
}

void CudaContext::replay(Recording& recording) { static_cast<CudaGraph&>(recording).launch(stream_); }

}  // namespace lathe::cuda
