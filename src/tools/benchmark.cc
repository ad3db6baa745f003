#include "tools/benchmark.h"

#include <barrier>
#include <chrono>
#include <exception>
#include <thread>

#include "tools/interrupt.h"
#include "tools/model_options.h"

namespace lathe::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kWarmupRuns = 2;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void warm_up(Session& session, std::span<const Input> inputs, double milliseconds) {
  const auto start = Clock::now();
  for (int runs = 0; runs < kWarmupRuns || seconds_since(start) * 1000 < milliseconds; ++runs) {
    check_interrupted();
    session.run(inputs);
  }
}

std::vector<double> timed_runs(Session& session, std::span<const Input> inputs, const BenchmarkOptions& options) {
  std::vector<double> milliseconds;
  const auto start = Clock::now();
  const auto wanted = static_cast<size_t>(options.iterations);
  while (wanted > 0 ? milliseconds.size() < wanted : milliseconds.empty() || seconds_since(start) < options.seconds) {
    check_interrupted();
    const auto before = Clock::now();
    session.run(inputs);
    milliseconds.push_back(seconds_since(before) * 1000);
  }
  return milliseconds;
}

// One session on one thread, with what came of it.
struct Stream {
  std::vector<double> milliseconds;
  std::exception_ptr failure;
  Clock::time_point first, last;
};

class CostObserver : public StepObserver {
 public:
  explicit CostObserver(const Program& program) : program_(program), costs_(program.steps.size()) {}
  void before(size_t) override { check_interrupted(); }
  void after(size_t step, const StepIo& io) override {
    costs_[step] = cost_of(program_.steps[step].node->op(), sized(io.inputs), sized(io.outputs));
  }
  std::vector<Cost> take() { return std::move(costs_); }

 private:
  static std::vector<SizedType> sized(std::span<const TensorRef> refs) {
    std::vector<SizedType> types;
    for (const TensorRef& ref : refs) types.push_back({ref.dtype, ref.dims, ref.present || ref.data != nullptr});
    return types;
  }

  const Program& program_;
  std::vector<Cost> costs_;
};

class TimeObserver : public StepObserver {
 public:
  explicit TimeObserver(size_t steps) : milliseconds_(steps) {}
  void before(size_t) override { start_ = Clock::now(); }
  void after(size_t step, const StepIo&) override { milliseconds_[step] += seconds_since(start_) * 1000; }
  std::vector<double> take(int64_t runs) {
    for (double& time : milliseconds_) time /= static_cast<double>(runs);
    return std::move(milliseconds_);
  }

 private:
  Clock::time_point start_;
  std::vector<double> milliseconds_;
};

}  // namespace

Measurement measure(const std::shared_ptr<const Engine>& engine, const Tensors& inputs,
                    const BenchmarkOptions& options) {
  std::vector<Stream> streams(static_cast<size_t>(options.streams));
  std::barrier ready(options.streams);
  const auto work = [&](Stream& stream) {
    bool arrived = false;
    try {
      Session session(engine, {options.threads});
      const std::vector<Input> bound = as_inputs(inputs);
      warm_up(session, bound, options.warmup_ms);
      arrived = true;
      ready.arrive_and_wait();
      stream.first = Clock::now();
      stream.milliseconds = timed_runs(session, bound, options);
      stream.last = Clock::now();
    } catch (...) {
      stream.failure = std::current_exception();
      if (!arrived) ready.arrive_and_drop();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (size_t i = 1; i < streams.size(); ++i) threads.emplace_back(work, std::ref(streams[i]));
    work(streams[0]);
  }
  Measurement result;
  std::vector<double> all;
  auto first = Clock::time_point::max(), last = Clock::time_point::min();
  for (const Stream& stream : streams) {
    if (stream.failure != nullptr) std::rethrow_exception(stream.failure);
    all.insert(all.end(), stream.milliseconds.begin(), stream.milliseconds.end());
    first = std::min(first, stream.first);
    last = std::max(last, stream.last);
  }
  result.seconds = std::chrono::duration<double>(last - first).count();
  result.runs_per_second = static_cast<double>(all.size()) / result.seconds;
  result.latency_ms = summarise(std::move(all));
  return result;
}

std::vector<Cost> step_costs(Session& session, const Tensors& inputs) {
  CostObserver observer(session.engine().impl().model.program);
  session.impl().observer = &observer;
  session.run(as_inputs(inputs));
  session.impl().observer = nullptr;
  return observer.take();
}

Cost total(std::span<const Cost> costs) {
  Cost sum;
  for (const Cost& cost : costs) sum += cost;
  return sum;
}

std::vector<double> step_times(Session& session, const Tensors& inputs, int64_t runs) {
  const std::vector<Input> bound = as_inputs(inputs);
  warm_up(session, bound, 0);
  TimeObserver observer(session.engine().impl().model.program.steps.size());
  session.impl().observer = &observer;
  for (int64_t i = 0; i < runs; ++i) {
    check_interrupted();
    session.run(bound);
  }
  session.impl().observer = nullptr;
  return observer.take(runs);
}

}  // namespace lathe::tools
