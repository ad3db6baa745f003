// The values that a run computes, one after another, without keeping them: the run happens on a thread of its own and
// waits while its latest value is looked at.
#pragma once

#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "graph/tensor.h"
#include "lathe/lathe.h"
#include "runtime/session.h"

namespace lathe::tools {

// A value where the step left it. The tensor is a view that is valid until the run goes on.
struct StepValue {
  std::string name;
  Tensor tensor;
};

// The tensors among the outputs of a step, under the names of their values. From device memory they are copied.
std::vector<StepValue> step_values(Session& session, size_t step, const StepIo& io);

class ValueStream : private StepObserver {
 public:
  // Starts to run. Session and inputs outlive the stream, and nobody else uses the session.
  ValueStream(Session& session, std::span<const Input> inputs);
  ValueStream(const ValueStream&) = delete;
  ValueStream& operator=(const ValueStream&) = delete;
  ~ValueStream() override;  // breaks the run off

  // The next value, valid until the next call; null when the run is over. Rethrows what ended the run early.
  const StepValue* next();

 private:
  enum class Turn { runner, reader };

  void before(size_t) override {}
  void after(size_t step, const StepIo& io) override;
  void run(std::span<const Input> inputs) noexcept;

  Session& session_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Turn turn_ = Turn::runner;
  const StepValue* current_ = nullptr;
  bool taken_ = false;  // the reader has seen `current_`
  bool finished_ = false, abandoned_ = false;
  std::exception_ptr failure_;
  std::thread thread_;  // last: starts when all else is there
};

}  // namespace lathe::tools
