#include "tools/benchmark.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <exception>
#include <optional>
#include <thread>

#include "base/stopwatch.h"
#include "tools/interrupt.h"
#include "tools/model_options.h"
#include "tools/named_values.h"
#include "tools/resident_io.h"

namespace lathe::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kWarmupRuns = 2;

size_t warm_up(Session& session, std::span<const Input> inputs, double milliseconds) {
  const Stopwatch watch;
  size_t runs = 0;
  for (; runs < kWarmupRuns || watch.milliseconds() < milliseconds; ++runs) {
    check_interrupted();
    session.run(inputs);
  }
  return runs;
}

// One session on one thread, with what came of it.
class Stream {
 public:
  Stream(const std::shared_ptr<const Engine>& engine, const Tensors& inputs, const BenchmarkOptions& options)
      : options_(options), session_(engine, options.session) {
    if (options.transfers)
      inputs_ = as_inputs(*engine, inputs);
    else
      resident_.emplace(session_, inputs);
    timer_.clock = session_.impl().device->make_clock(RunTimer::kMarks);
    warmup_runs_ = warm_up(session_, bound(), options.warmup_ms);
  }

  // Runs until there is enough; times count from `origin`.
  void measure(Clock::time_point origin) {
    session_.impl().timer = &timer_;
    const Stopwatch watch;
    while (trace_.size() < static_cast<size_t>(options_.iterations) || watch.seconds() < options_.seconds) {
      check_interrupted();
      session_.run(bound());
      latencies_.push_back(milliseconds(timer_.begun, Clock::now()));
      trace_.push_back(read(origin));
      if (options_.idle_ms > 0)
        std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(options_.idle_ms));
    }
    session_.impl().timer = nullptr;
  }

  size_t warmup_runs() const { return warmup_runs_; }
  const std::vector<double>& latencies() const { return latencies_; }
  const std::vector<RunTrace>& trace() const { return trace_; }

 private:
  static double milliseconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
  }
  std::span<const Input> bound() const { return resident_ ? resident_->inputs() : inputs_; }

  RunTrace read(Clock::time_point origin) const {
    const auto at = [&](RunTimer::Mark mark) { return timer_.clock->milliseconds(RunTimer::start, mark); };
    const double begun = milliseconds(origin, timer_.begun);
    const bool copies = !session_.impl().device->host_memory();
    RunTrace run;
    run.enqueue_begin = run.upload_begin = begun;
    run.enqueue_end = copies ? milliseconds(origin, timer_.enqueued) : begun;
    run.compute_begin = copies ? begun + at(RunTimer::uploaded) : begun;
    run.download_end = begun + at(RunTimer::downloaded);
    run.download_begin = copies ? begun + at(RunTimer::computed) : run.download_end;
    return run;
  }

  const BenchmarkOptions& options_;
  Session session_;
  std::vector<Input> inputs_;
  std::optional<ResidentIo> resident_;
  RunTimer timer_;
  size_t warmup_runs_ = 0;
  std::vector<double> latencies_;
  std::vector<RunTrace> trace_;
};

class CostObserver : public StepObserver {
 public:
  explicit CostObserver(const Program& program) : program_(program), costs_(program.steps.size()) {}
  void before(size_t) override { check_interrupted(); }
  void after(size_t step, const StepIo& io) override {
    costs_[step] = cost_of(program_.steps[step].node->op(), sized_types(io.inputs), sized_types(io.outputs));
  }
  std::vector<Cost> take() { return std::move(costs_); }

 private:
  const Program& program_;
  std::vector<Cost> costs_;
};

// Marks the beginning of every step, and the end of the last one.
class TimeObserver : public StepObserver {
 public:
  explicit TimeObserver(Session& session)
      : times_(session.engine().impl().model.program.steps.size()),
        ended_(times_.size(), false),
        clock_(session.impl().device->make_clock(2 * times_.size())) {}
  bool waits() const override { return false; }
  void before(size_t step) override { clock_->mark(2 * step); }
  void after(size_t step, const StepIo&) override {
    clock_->mark(2 * step + 1);
    ended_[step] = true;
  }
  // After a run: adds its times to those of the runs before. What the executor does itself (Bind) takes none.
  void read() {
    for (size_t i = 0; i < times_.size(); ++i)
      times_[i].push_back(ended_[i] ? clock_->milliseconds(2 * i, 2 * i + 1) : 0);
  }
  std::vector<std::vector<double>> take() { return std::move(times_); }

 private:
  std::vector<std::vector<double>> times_;  // by step
  std::vector<bool> ended_;
  std::unique_ptr<DeviceClock> clock_;
};

// What all streams did, once none of them runs any more.
Measurement gather(const std::vector<std::unique_ptr<Stream>>& streams) {
  Measurement result;
  std::vector<double> latencies;
  for (const auto& stream : streams) {
    latencies.insert(latencies.end(), stream->latencies().begin(), stream->latencies().end());
    result.trace.insert(result.trace.end(), stream->trace().begin(), stream->trace().end());
    result.warmup_runs += stream->warmup_runs();
  }
  std::sort(result.trace.begin(), result.trace.end(),
            [](const RunTrace& a, const RunTrace& b) { return a.enqueue_begin < b.enqueue_begin; });
  double last = 0;
  for (const RunTrace& run : result.trace) last = std::max(last, run.download_end);
  result.seconds = (last - result.trace.front().enqueue_begin) / 1000;
  result.runs_per_second = static_cast<double>(result.trace.size()) / result.seconds;
  result.latency_ms = summarise(std::move(latencies));
  return result;
}

}  // namespace

Measurement measure(const std::shared_ptr<const Engine>& engine, const Tensors& inputs,
                    const BenchmarkOptions& options) {
  std::vector<std::unique_ptr<Stream>> streams(static_cast<size_t>(options.streams));
  std::vector<std::exception_ptr> failures(streams.size());
  std::barrier ready(options.streams);
  const auto origin = Clock::now();
  const auto work = [&](size_t i) {
    bool arrived = false;
    try {
      streams[i] = std::make_unique<Stream>(engine, inputs, options);
      arrived = true;
      ready.arrive_and_wait();
      streams[i]->measure(origin);
    } catch (...) {
      failures[i] = std::current_exception();
      if (!arrived) ready.arrive_and_drop();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (size_t i = 1; i < streams.size(); ++i) threads.emplace_back(work, i);
    work(0);
  }
  for (const std::exception_ptr& failure : failures)
    if (failure != nullptr) std::rethrow_exception(failure);
  return gather(streams);
}

std::vector<Cost> step_costs(Session& session, const Tensors& inputs) {
  CostObserver observer(session.engine().impl().model.program);
  session.impl().observer = &observer;
  session.run(as_inputs(session.engine(), inputs));
  session.impl().observer = nullptr;
  return observer.take();
}

std::vector<SizedType> sized_types(std::span<const TensorRef> refs) {
  std::vector<SizedType> types;
  for (const TensorRef& ref : refs) types.push_back({ref.dtype, ref.dims, ref.present || ref.data != nullptr});
  return types;
}

Cost total(std::span<const Cost> costs) {
  Cost sum;
  for (const Cost& cost : costs) sum += cost;
  return sum;
}

std::vector<std::vector<double>> step_times(Session& session, const Tensors& inputs, int64_t runs) {
  const std::vector<Input> bound = as_inputs(session.engine(), inputs);
  warm_up(session, bound, 0);
  TimeObserver observer(session);
  session.impl().observer = &observer;
  for (int64_t i = 0; i < runs; ++i) {
    check_interrupted();
    session.run(bound);
    observer.read();
  }
  session.impl().observer = nullptr;
  return observer.take();
}

}  // namespace lathe::tools
