#include "base/thread_team.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

#include "base/error.h"

namespace lathe {
namespace {

constexpr size_t kCacheLine = 64;
// Waits for threads that are at work, unlike idle waits, are short; they spin at least this long.
constexpr std::chrono::nanoseconds kBusySpin = std::chrono::microseconds(20);

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Counters wrap around; int arithmetic would not be allowed to.
int next(int count, int step) { return static_cast<int>(static_cast<unsigned>(count) + static_cast<unsigned>(step)); }

// Returns when `word` no longer holds `old`: polls for `spin`, then sleeps in the kernel. After the first round of
// polls it offers the core between rounds: whoever we wait for may have been put on this very one.
void wait_while_equal(const std::atomic<int>& word, int old, std::chrono::nanoseconds spin) {
  constexpr int kPollsPerRound = 64;
  if (spin.count() > 0) {
    const auto poll = [&] {
      for (int i = 0; i < kPollsPerRound; ++i) {
        if (word.load(std::memory_order_acquire) != old) return true;
        pause();
      }
      return false;
    };
    if (poll()) return;
    const auto deadline = std::chrono::steady_clock::now() + spin;
    do {
      if (poll()) return;
      std::this_thread::yield();
    } while (std::chrono::steady_clock::now() < deadline);
  }
  while (word.load(std::memory_order_acquire) == old) word.wait(old, std::memory_order_acquire);
}

}  // namespace

// Words that different threads write lie on different cache lines, and a fork-join writes each line once: the time of a
// fork-join is the time that lines take to travel between cores.
struct ThreadTeam::Shared {
  std::chrono::nanoseconds idle_spin{}, busy_spin{};
  std::vector<std::thread> workers;

  alignas(kCacheLine) std::atomic<bool> in_use = false;

  // Written by the caller; a new epoch publishes the rest.
  alignas(kCacheLine) std::atomic<int> epoch = 0;  // the number of the current task
  const FunctionRef<void(int, int)>* task = nullptr;
  int done_after = 0;  // what `done` is once every worker has finished the task
  bool stopping = false;

  alignas(kCacheLine) std::atomic<int> done = 0;     // tasks finished by workers since the start, modulo 2^32
  alignas(kCacheLine) std::atomic<int> arrived = 0;  // threads waiting in the barrier
  alignas(kCacheLine) std::atomic<int> generation = 0;
  std::atomic<bool> failed = false;
  std::exception_ptr first_error;  // written by the thread that set `failed`
};

ThreadTeam::ThreadTeam(int threads, ThreadTeamOptions options) : size_(threads), shared_(std::make_unique<Shared>()) {
  if (threads < 1) fail(ErrorCode::invalid_argument, "a thread team needs at least one thread, {} asked for", threads);
  // Polling helps only when everyone we wait for has a core of its own.
  const bool enough_cores = static_cast<unsigned>(threads) <= std::thread::hardware_concurrency();
  shared_->idle_spin = enough_cores ? options.spin : std::chrono::nanoseconds(0);
  shared_->busy_spin = enough_cores ? std::max(options.spin, kBusySpin) : std::chrono::nanoseconds(0);
  shared_->workers.reserve(static_cast<size_t>(threads - 1));
  for (int i = 1; i < threads; ++i) shared_->workers.emplace_back([this, i] { worker(i); });
}

ThreadTeam::~ThreadTeam() {
  shared_->stopping = true;
  shared_->epoch.fetch_add(1, std::memory_order_release);
  shared_->epoch.notify_all();
  for (std::thread& thread : shared_->workers) thread.join();
}

void ThreadTeam::worker(int thread) {
  Shared& shared = *shared_;
  for (int seen = 0;; seen = next(seen, 1)) {
    wait_while_equal(shared.epoch, seen, shared.idle_spin);
    if (shared.stopping) return;
    const int done_after = shared.done_after;
    run_one(thread);
    if (next(shared.done.fetch_add(1, std::memory_order_acq_rel), 1) == done_after) shared.done.notify_one();
  }
}

void ThreadTeam::run_one(int thread) noexcept {
  Shared& shared = *shared_;
  try {
    (*shared.task)(thread, size_);
  } catch (...) {
    // The first error wins; later ones are mostly its echo in barrier().
    if (shared.failed.exchange(true, std::memory_order_acq_rel)) return;
    shared.first_error = std::current_exception();
    shared.generation.fetch_add(1, std::memory_order_release);
    shared.generation.notify_all();
  }
}

void ThreadTeam::run(FunctionRef<void(int, int)> task) {
  Shared& shared = *shared_;
  if (shared.in_use.exchange(true, std::memory_order_acquire))
    fail(ErrorCode::internal, "a thread team was used while it already runs a task");
  shared.task = &task;
  if (size_ > 1) {
    shared.done_after = next(shared.done_after, size_ - 1);
    shared.epoch.fetch_add(1, std::memory_order_release);
    shared.epoch.notify_all();
  }
  run_one(0);
  for (int done; (done = shared.done.load(std::memory_order_acquire)) != shared.done_after;)
    wait_while_equal(shared.done, done, shared.busy_spin);

  // Everyone is back, so these can be put right for the next task without a race.
  std::exception_ptr error = std::exchange(shared.first_error, nullptr);
  if (error) {
    shared.failed.store(false, std::memory_order_relaxed);
    shared.arrived.store(0, std::memory_order_relaxed);
  }
  shared.in_use.store(false, std::memory_order_release);
  if (error) std::rethrow_exception(error);
}

void ThreadTeam::parallel_for(int64_t n, FunctionRef<void(int64_t, int64_t, int)> body) {
  if (n <= 0) return;
  run([&](int thread, int threads) {
    const Range part = even_part(n, thread, threads);
    if (part.begin < part.end) body(part.begin, part.end, thread);
  });
}

void ThreadTeam::barrier() {
  Shared& shared = *shared_;
  // Reading the generation before `failed` means that a failure is either seen here or moves the generation later.
  const int generation = shared.generation.load(std::memory_order_acquire);
  const auto check = [&] {
    if (shared.failed.load(std::memory_order_acquire)) fail(ErrorCode::cancelled, "another thread of the team failed");
  };
  check();
  if (shared.arrived.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
    shared.arrived.store(0, std::memory_order_relaxed);
    shared.generation.fetch_add(1, std::memory_order_release);
    shared.generation.notify_all();
  } else {
    wait_while_equal(shared.generation, generation, shared.busy_spin);
  }
  check();
}

}  // namespace lathe
