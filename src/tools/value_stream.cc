#include "tools/value_stream.h"

#include "base/error.h"

namespace lathe::tools {

std::vector<StepValue> step_values(Session& session, size_t step, const StepIo& io) {
  const Program& program = session.engine().impl().model.program;
  DeviceContext& device = *session.impl().device;
  const std::vector<int>& outputs = program.steps[step].outputs;
  std::vector<StepValue> values;
  for (size_t i = 0; i < outputs.size() && i < io.outputs.size(); ++i) {
    const TensorRef& ref = io.outputs[i];
    if (outputs[i] < 0 || ref.data == nullptr || ref.dtype == DType::string) continue;
    std::vector<int64_t> dims(ref.dims.begin(), ref.dims.end());
    const std::string& name = program.values[static_cast<size_t>(outputs[i])].value->name();
    if (device.host_memory()) {
      const std::span bytes(static_cast<const std::byte*>(ref.data), storage_bytes(ref.dtype, element_count(dims)));
      values.push_back({name, Tensor::view(ref.dtype, std::move(dims), bytes, nullptr)});
    } else {
      Tensor copy(ref.dtype, std::move(dims));
      device.download(copy.mutable_bytes(), ref.data);
      values.push_back({name, std::move(copy)});
    }
  }
  return values;
}

ValueStream::ValueStream(Session& session, std::span<const Input> inputs)
    : session_(session), thread_([this, inputs] { run(inputs); }) {}

ValueStream::~ValueStream() {
  {
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
    turn_ = Turn::runner;
  }
  changed_.notify_all();
  thread_.join();
  session_.impl().observer = nullptr;
}

const StepValue* ValueStream::next() {
  std::unique_lock lock(mutex_);
  if (!finished_ && taken_) {  // not before: the first value may be there already
    taken_ = false;
    turn_ = Turn::runner;
    changed_.notify_all();
  }
  changed_.wait(lock, [&] { return turn_ == Turn::reader || finished_; });
  if (failure_ != nullptr) std::rethrow_exception(failure_);
  taken_ = !finished_;
  return finished_ ? nullptr : current_;
}

void ValueStream::after(size_t step, const StepIo& io) {
  for (const StepValue& value : step_values(session_, step, io)) {
    std::unique_lock lock(mutex_);
    if (!abandoned_) {
      current_ = &value;
      turn_ = Turn::reader;
      changed_.notify_all();
      changed_.wait(lock, [&] { return turn_ == Turn::runner; });
    }
    if (abandoned_) fail(ErrorCode::cancelled, "nobody reads on");
  }
}

void ValueStream::run(std::span<const Input> inputs) noexcept {
  std::exception_ptr failure;
  try {
    session_.impl().observer = this;
    session_.run(inputs);
  } catch (...) {
    failure = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  failure_ = failure;
  finished_ = true;
  changed_.notify_all();
}

}  // namespace lathe::tools
