// What a Session is inside, for the tools: its device context and executor.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "lathe/lathe.h"
#include "runtime/device_io.h"
#include "runtime/engine.h"
#include "runtime/executor.h"

namespace lathe {

// Takes the times of a session's runs, each run over those of the last.
struct RunTimer {
  // What the device has done by each mark; inputs and outputs of memory that the device uses in place take no time.
  enum Mark : size_t { start, uploaded, computed, downloaded };
  static constexpr size_t kMarks = downloaded + 1;

  std::unique_ptr<DeviceClock> clock;                     // with kMarks marks
  std::chrono::steady_clock::time_point begun, enqueued;  // when the host began, and when it had queued the steps
};

struct Session::Impl {
  Impl(std::shared_ptr<const Engine> session_engine, const SessionOptions& options);
  ~Impl();

  void evict();
  void restore();
  std::span<const Output> run(std::span<const Input> inputs);

  std::shared_ptr<const Engine> engine;
  std::unique_ptr<DeviceContext> device;
  std::unique_ptr<DeviceIo> io;          // null when the device reads and writes host memory, and while evicted
  std::unique_ptr<WeightStream> stream;  // null when all weights are on the device, and while evicted
  std::unique_ptr<Executor> executor;    // null while evicted
  // Watch the runs; not owned.
  StepObserver* observer = nullptr;
  RunTimer* timer = nullptr;

  struct Binding {
    void* memory = nullptr;
    size_t bytes = 0;
    Memory where = Memory::host;
  };
  std::vector<Binding> bindings;  // by output

 private:
  // Memory for the largest sizes of the plan's profiles, as far as the device has it.
  void reserve_for_profiles();
  void match_inputs(std::span<const Input> inputs);
  size_t index_of_input(std::string_view name, size_t guess) const;
  void upload_inputs();
  // True when the steps themselves write where the caller wants the output.
  bool written_in_place(size_t output) const;
  void mark(RunTimer::Mark mark) const;
  void deliver(size_t output);
  void check_bindings();
  void* bind_memory(size_t output, std::span<const int64_t> dims) const;

  std::vector<TensorRef> input_refs_, output_refs_;
  std::vector<Memory> input_memory_;                        // by input, where it is given
  std::vector<TensorRef*> on_host_;                         // by input: what is to be copied to the device, or null
  std::vector<std::shared_ptr<const void>> input_objects_;  // by input, of those that travel as objects
  std::vector<const std::vector<int64_t>*> known_dims_;     // by output, while the bindings are checked
  std::vector<Output> outputs_;
};

// Physical cores that this process may use (hyperthreads of a core count once).
int default_thread_count();

}  // namespace lathe
