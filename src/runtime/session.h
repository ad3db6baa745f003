// What a Session is inside, for the tools: its device context and executor.
#pragma once

#include <vector>

#include "lathe/lathe.h"
#include "runtime/device_io.h"
#include "runtime/engine.h"
#include "runtime/executor.h"

namespace lathe {

struct Session::Impl {
  Impl(std::shared_ptr<const Engine> session_engine, const SessionOptions& options);

  std::span<const Output> run(std::span<const Input> inputs);

  std::shared_ptr<const Engine> engine;
  std::unique_ptr<DeviceContext> device;
  std::unique_ptr<DeviceIo> io;  // null when the device reads and writes host memory
  Executor executor;
  StepObserver* observer = nullptr;  // watches the runs; not owned

  struct Binding {
    void* memory = nullptr;
    size_t bytes = 0;
  };
  std::vector<Binding> bindings;  // by output

 private:
  // Memory for the largest sizes of the plan's profiles.
  void reserve_for_profiles();
  void match_inputs(std::span<const Input> inputs);
  void* deliver(size_t output, const TensorRef& made);
  void check_bindings();
  void* bind_memory(size_t output, std::span<const int64_t> dims) const;

  std::vector<TensorRef> input_refs_, output_refs_;
  std::vector<const std::vector<int64_t>*> known_dims_;  // by output, while the bindings are checked
  std::vector<Output> outputs_;
};

// Physical cores that this process may use (hyperthreads of a core count once).
int default_thread_count();

}  // namespace lathe
