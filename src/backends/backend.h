// The one interface between the rooms above and a device. A backend turns a node into a Step through an ordered list of
// candidates, each of which either makes a step or says why it declines; it lays weights out for its steps and makes
// the per-session contexts that steps run in. Addresses are device addresses: only the backend dereferences them.
//
// A Step is immutable and shared by all sessions of an engine. What depends on sizes is prepared once per set of sizes
// (StepState) and cached by the session, so that a warm run neither allocates nor plans.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/copy_queue.h"
#include "backends/device_clock.h"
#include "backends/weight_layout.h"
#include "backends/weight_packer.h"
#include "graph/bindings.h"
#include "graph/cost.h"
#include "graph/graph.h"
#include "graph/tensor.h"

namespace lathe {

// A tensor as a step sees it: contiguous, row-major. For a constant operand with a packed layout, data points to the
// packed bytes while dtype and dims stay those of the plain tensor. An absent optional operand has no dtype worth
// reading: see present.
struct TensorRef {
  void* data = nullptr;
  DType dtype = DType::f32;
  std::span<const int64_t> dims;
  bool present = false;
  const void* object = nullptr;  // sequences and optionals: a RefValue of graph/reference, owned by the session
  const void* host = nullptr;    // of an input of a run that was uploaded: the elements that it was uploaded from

  int64_t elements() const {
    int64_t n = 1;
    for (const int64_t d : dims) n *= d;
    return n;
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

// Takes the outputs whose sizes only the step knows: those that come with data == nullptr into Step::run. The memory is
// valid until the session's next run.
class OutputAllocator {
 public:
  virtual ~OutputAllocator() = default;
  virtual void* allocate(size_t output, DType dtype, std::span<const int64_t> dims) = 0;
  virtual void set_object(size_t output, std::shared_ptr<const void> object) = 0;  // for sequences and optionals
};

struct StepIo {
  std::span<const TensorRef> inputs;
  std::span<const TensorRef> outputs;  // data is null while preparing
  const SymbolBindings* symbols = nullptr;
  int threads = 1;                       // of the context, for sizing per-thread workspace
  OutputAllocator* allocator = nullptr;  // set when an output's sizes are not known beforehand
};

// What a device was asked to do while recording, to be replayed at once.
class Recording {
 public:
  virtual ~Recording() = default;
};

// Per session and device: the thread team or stream, and the memory that belongs to it.
class DeviceContext {
 public:
  virtual ~DeviceContext() = default;
  // Called on the session's thread before anything else of a run.
  virtual void begin_run() {}
  virtual void* allocate(size_t bytes) = 0;  // at least 64-byte aligned; throws Error(out_of_memory)
  virtual void release(void* memory) noexcept = 0;
  // What allocate() may still find, roughly; of the host unless the device has memory of its own.
  virtual size_t free_bytes() const;
  virtual void upload(void* device, std::span<const std::byte> host) = 0;
  virtual void download(std::span<std::byte> host, const void* device) = 0;
  virtual void copy(void* destination, const void* source, size_t bytes) = 0;  // both on the device
  virtual void synchronize() {}
  // For as many marks.
  virtual std::unique_ptr<DeviceClock> make_clock(size_t marks) { return std::make_unique<HostClock>(marks); }
  virtual int threads() const { return 1; }
  // Announces the work of the step that runs next, so that a context need not wake all its threads for little. Without
  // an announcement for a step, the last one holds.
  virtual void announce(const Cost&) {}
  // True when device addresses are host addresses: inputs and outputs can be bound without copies.
  virtual bool host_memory() const = 0;

  // A run whose addresses stay the same can be recorded and replayed, where the device knows how (CUDA graphs). Between
  // begin and end, steps enqueue as always, but nothing is executed; all of them must be recordable.
  virtual bool can_record() const { return false; }
  virtual void begin_recording() {}
  virtual std::unique_ptr<Recording> end_recording() { return nullptr; }
  virtual void replay(Recording&) {}

  // Copies that go on beside the steps, and memory of the host that these need not copy first; null where there is
  // none. Both go before the context.
  virtual std::unique_ptr<CopyQueue> make_copy_queue(size_t /*slots*/) { return nullptr; }
  virtual std::byte* allocate_pinned(size_t /*bytes*/) { return nullptr; }
  virtual void release_pinned(std::byte* /*memory*/) noexcept {}

  // Where steps run that the device leaves to the host: itself, when its memory is the host's.
  DeviceContext& host() { return host_ != nullptr ? *host_ : *this; }
  const DeviceContext& host() const { return host_ != nullptr ? *host_ : *this; }
  void set_host(std::unique_ptr<DeviceContext> host) { host_ = std::move(host); }

 private:
  std::unique_ptr<DeviceContext> host_;
};

class StepState {
 public:
  virtual ~StepState() = default;
};

class Step {
 public:
  virtual ~Step() = default;
  // Scratch memory that run() needs, in bytes; not kept between runs. A step that sizes its own results is asked before
  // it has: its outputs then have neither memory nor sizes that mean anything.
  virtual size_t workspace_bytes(const StepIo&) const { return 0; }
  // Called once per set of sizes, never on the hot path; may throw when the sizes do not fit. Not called for a step
  // that sizes its own results: run() then gets no state.
  virtual std::unique_ptr<StepState> prepare(const StepIo&) const { return nullptr; }
  virtual void run(const StepIo& io, const StepState* state, void* workspace, DeviceContext& device) const = 0;
  // False when run() does more than enqueue work on the device, such as waiting for it.
  virtual bool recordable() const { return true; }
};

// What a candidate makes of a node.
struct Lowered {
  std::unique_ptr<Step> step;                 // null: output 0 is operand 0 under another shape, nothing runs
  std::vector<WeightLayout> operand_layouts;  // by operand; missing entries are plain. Only constants may be packed.
};

struct Candidate {
  std::string kernel;             // stable name, recorded in plans and timing caches: "gemm", "conv_direct"
  std::string declined;           // why it cannot serve this node; empty when it can
  std::function<Lowered()> make;  // valid while the node lives
};

struct ContextOptions {
  int threads = 1;
  // A step that should take less than this on one thread is not shared among threads: waking them costs more than it
  // gains (0.2 us at best, several when another process has the core).
  double share_above_microseconds = 4;
  bool recording = true;  // runs may be recorded and replayed, where the device knows how
};

// What layers may compute in besides f32 on a device, and how quantised ones are spelled there (src/precision/).
struct PrecisionSupport {
  std::vector<DType> types;         // f16, bf16, i8, ..
  bool narrow_activations = false;  // 16-bit layers leave 16-bit values; else only their weights are narrower
  bool asymmetric_bytes = false;    // activations are u8 with a zero point; else i8 around 0
  bool quantized_convolutions = false;
  int64_t float8_multiple = 1;  // rows and columns of weights in f8e4m3 come in multiples of this
};

class Backend : public WeightPacker {
 public:
  virtual std::string_view name() const = 0;         // "cpu", "reference", "cuda"
  virtual std::string target() const = 0;            // what steps are made for: "avx512", "sm_90"
  virtual bool host_memory() const { return true; }  // as DeviceContext::host_memory()
  // Rewrites that only this device wants (layouts, widening of types it does not compute in). After the common passes.
  virtual void legalize(Graph&) const {}
  // The part of it that settles in which types values are: before layers get narrower ones.
  virtual void legalize_types(Graph&) const {}
  virtual PrecisionSupport precision_support() const { return {}; }
  // Best first. Empty when the backend knows nothing about this op.
  virtual std::vector<Candidate> candidates(const Node& node) const = 0;
  // Called once the nodes of a graph are lowered and before any step runs: kernels that they asked for are compiled.
  virtual void finish_lowering() const {}
  // Those that were compiled so far, in a form that the backend takes again, so that a plan which carries it opens
  // without a compiler. Empty where nothing is compiled.
  virtual std::vector<std::byte> compiled_code() const { return {}; }
  virtual std::unique_ptr<DeviceContext> make_context(const ContextOptions& options) const = 0;
};

}  // namespace lathe
