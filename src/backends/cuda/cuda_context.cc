#include "backends/cuda/cuda_context.h"

#include <algorithm>
#include <cstring>

namespace lathe::cuda {
namespace {

constexpr size_t kMaxPinned = size_t{64} << 20;  // larger transfers go through the driver's own staging
constexpr size_t kPinnedAlignment = 64;
constexpr size_t kWord = 4;

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

// Events of a stream.
class CudaClock : public DeviceClock {
 public:
  CudaClock(std::shared_ptr<const Device> device, CudaContext& context, size_t marks)
      : device_(std::move(device)), context_(context) {
    while (events_.size() < marks) {
      CUevent event = nullptr;
      device_->check(device_->driver().event_create(&event, kEventDefault), "making an event");
      events_.push_back(event);
    }
  }
  ~CudaClock() override {
    for (const CUevent event : events_) device_->driver().event_destroy(event);
  }

  void mark(size_t slot) override {
    device_->check(device_->driver().event_record(events_[slot], context_.stream()), "marking a time");
  }
  double milliseconds(size_t from, size_t to) override {
    for (const size_t slot : {from, to})
      device_->check(device_->driver().event_synchronize(events_[slot]), "waiting for the GPU");
    float elapsed = 0;
    device_->check(device_->driver().event_elapsed_time(&elapsed, events_[from], events_[to]), "reading a time");
    return static_cast<double>(elapsed);
  }

 private:
  std::shared_ptr<const Device> device_;
  CudaContext& context_;
  std::vector<CUevent> events_;
};

// A stream of its own, and two events for each slot.
class CudaCopyQueue : public CopyQueue {
 public:
  CudaCopyQueue(std::shared_ptr<const Device> device, CudaContext& steps, size_t slots)
      : device_(std::move(device)), steps_(steps), copied_(slots), used_(slots) {
    device_->check(device_->driver().stream_create(&copies_, kStreamNonBlocking), "making a stream");
    for (auto* events : {&copied_, &used_})
      for (CUevent& event : *events)
        device_->check(device_->driver().event_create(&event, kEventDisableTiming), "making an event");
  }
  ~CudaCopyQueue() override {
    device_->try_make_current();
    device_->driver().stream_synchronize(copies_);
    for (const auto& events : {copied_, used_})
      for (const CUevent event : events) device_->driver().event_destroy(event);
    device_->driver().stream_destroy(copies_);
  }

  void copy(void* to, std::span<const std::byte> host) override {
    if (host.empty()) return;
    device_->check(device_->driver().memcpy_htod_async(address(to), host.data(), host.size(), copies_),
                   "copying weights to the GPU");
  }
  void mark_copied(size_t slot) override { record(copied_[slot], copies_); }
  void await_copied(size_t slot) override { wait(steps_.stream(), copied_[slot]); }
  void mark_used(size_t slot) override { record(used_[slot], steps_.stream()); }
  void await_used(size_t slot) override { wait(copies_, used_[slot]); }  // at once where nothing was recorded

 private:
  void record(CUevent event, CUstream stream) {
    device_->check(device_->driver().event_record(event, stream), "marking a point of a stream");
  }
  void wait(CUstream stream, CUevent event) {
    device_->check(device_->driver().stream_wait_event(stream, event, 0), "making a stream wait");
  }

  std::shared_ptr<const Device> device_;
  CudaContext& steps_;
  CUstream copies_ = nullptr;
  std::vector<CUevent> copied_, used_;
};

}  // namespace

CudaContext::CudaContext(std::shared_ptr<const Device> device, const ContextOptions& options)
    : device_(std::move(device)), recording_(options.recording) {
  device_->make_current();
  device_->check(device_->driver().stream_create(&stream_, kStreamNonBlocking), "making a stream");
  counters_ = static_cast<int*>(allocate(kCounters * sizeof(int)));
  device_->check(device_->driver().memset_d8_async(address(counters_), 0, kCounters * sizeof(int), stream_),
                 "clearing memory");
}

CudaContext::~CudaContext() {
  device_->try_make_current();
  if (pinned_ != nullptr) device_->driver().mem_free_host(pinned_);
  release(counters_);
  device_->driver().stream_destroy(stream_);
}

CUstream CudaContext::stream() {
  if (const std::unique_ptr<Deferred> launch = take_deferred(); launch != nullptr) launch->launch(stream_);
  return stream_;
}

void CudaContext::defer(std::unique_ptr<Deferred> launch) {
  stream();
  deferred_ = std::move(launch);
}

// Between runs, when nothing is under way, pinned memory grows to what the last ones would have liked.
void CudaContext::begin_run() {
  device_->make_current();
  deferred_.reset();  // of a run that failed
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

bool CudaContext::is_pinned(const std::byte* memory) const {
  return std::any_of(pinned_by_others_.begin(), pinned_by_others_.end(),
                     [&](const auto& block) { return block.data() <= memory && memory < block.data() + block.size(); });
}

void* CudaContext::allocate(size_t bytes) {
  device_->make_current();
  CUdeviceptr pointer = 0;
  // Kernels exchange elements of one and two bytes within the word that they lie in, which ends in here as well.
  const CUresult result = device_->driver().mem_alloc(&pointer, (bytes + kWord - 1) / kWord * kWord);
  if (result != kCudaSuccess) device_->check(result, describe_allocation(bytes));
  return reinterpret_cast<void*>(pointer);  // NOLINT(performance-no-int-to-ptr): the driver's addresses are integers
}

// What an allocation that failed asked for, and what there was.
std::string CudaContext::describe_allocation(size_t bytes) const {
  size_t free = 0, total = 0;
  device_->driver().mem_get_info(&free, &total);
  constexpr double kMega = 1e6;
  return fmt::format("allocating {:.1f} MB on {}, which has {:.0f} MB, {:.0f} MB of them free",
                     static_cast<double>(bytes) / kMega, device_->info().name, static_cast<double>(total) / kMega,
                     static_cast<double>(free) / kMega);
}

size_t CudaContext::free_bytes() const {
  device_->make_current();
  size_t free = 0, total = 0;
  device_->driver().mem_get_info(&free, &total);
  return free;
}

void CudaContext::release(void* memory) noexcept {
  device_->try_make_current();
  device_->driver().mem_free(address(memory));
}

void CudaContext::upload(void* device, std::span<const std::byte> host) {
  if (host.empty()) return;
  const std::byte* source = host.data();
  if (std::byte* pinned = take_pinned(host.size()); pinned != nullptr) {
    std::memcpy(pinned, host.data(), host.size());
    source = pinned;
  }
  device_->check(device_->driver().memcpy_htod_async(address(device), source, host.size(), stream()),
                 "copying to the GPU");
}

void CudaContext::download(std::span<std::byte> host, const void* device) {
  if (host.empty()) return;
  std::byte* pinned = is_pinned(host.data()) ? nullptr : take_pinned(host.size());
  void* target = pinned != nullptr ? pinned : host.data();
  device_->check(device_->driver().memcpy_dtoh_async(target, address(device), host.size(), stream()),
                 "copying from the GPU");
  synchronize();
  if (pinned != nullptr) std::memcpy(host.data(), pinned, host.size());
}

void CudaContext::copy(void* destination, const void* source, size_t bytes) {
  if (bytes == 0) return;
  device_->check(device_->driver().memcpy_dtod_async(address(destination), address(source), bytes, stream()),
                 "copying on the GPU");
}

void CudaContext::synchronize() {
  device_->check(device_->driver().stream_synchronize(stream()), "waiting for the GPU");
  pinned_used_ = 0;
}

std::unique_ptr<DeviceClock> CudaContext::make_clock(size_t marks) {
  device_->make_current();
  return std::make_unique<CudaClock>(device_, *this, marks);
}

void CudaContext::begin_recording() {
  device_->check(device_->driver().stream_begin_capture(stream(), kCaptureThreadLocal), "recording a run");
}

std::unique_ptr<Recording> CudaContext::end_recording() {
  CUgraph graph = nullptr;
  device_->check(device_->driver().stream_end_capture(stream(), &graph), "recording a run");
  return std::make_unique<CudaGraph>(device_, graph);
}

std::unique_ptr<CopyQueue> CudaContext::make_copy_queue(size_t slots) {
  device_->make_current();
  return std::make_unique<CudaCopyQueue>(device_, *this, slots);
}

std::byte* CudaContext::allocate_pinned(size_t bytes) {
  device_->make_current();
  void* memory = nullptr;
  if (device_->driver().mem_alloc_host(&memory, bytes) != kCudaSuccess) return nullptr;
  auto* const bytes_of_host = static_cast<std::byte*>(memory);
  pinned_by_others_.emplace_back(bytes_of_host, bytes);
  return bytes_of_host;
}

void CudaContext::release_pinned(std::byte* memory) noexcept {
  device_->try_make_current();
  std::erase_if(pinned_by_others_, [&](const auto& block) { return block.data() == memory; });
  device_->driver().mem_free_host(memory);
}

void CudaContext::replay(Recording& recording) { static_cast<CudaGraph&>(recording).launch(stream()); }

}  // namespace lathe::cuda
