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

// Returns when `word` no longer holds `old`: polls for `spin`, then sleeps in the kernel.
void wait_while_equal(const std::atomic<int>& word, int old, std::chrono::nanoseconds spin) {
  constexpr int kPollsPerClockRead = 64;
  if (spin.count() > 0) {
    const auto deadline = std::chrono::steady_clock::now() + spin;
    do {
      for (int i = 0; i < kPollsPerClockRead; ++i) {
        if (word.load(std::memory_order_acquire) != old) return;
        pause();
      }
    } while (std::chrono::steady_clock::now() < deadline);
  }
  while (word.load(std::memory_order_acquire) == old) word.wait(old, std::memory_order_acquire);
}

}  // namespace

// Each group of words that different threads write lies on its own cache line.
struct ThreadTeam::Shared {
  // Set by the caller before `epoch` moves.
  const FunctionRef<void(int, int)>* task = nullptr;
  bool stopping = false;
  std::chrono::nanoseconds idle_spin{}, busy_spin{};
  std::vector<std::thread> workers;
  std::atomic<bool> in_use = false;

  alignas(kCacheLine) std::atomic<int> epoch = 0;    // the number of the current task
  alignas(kCacheLine) std::atomic<int> pending = 0;  // workers that have not finished it
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
  for (int seen = 0;; ++seen) {
    wait_while_equal(shared.epoch, seen, shared.idle_spin);
    if (shared.stopping) return;
    run_one(thread);
    if (shared.pending.fetch_sub(1, std::memory_order_acq_rel) == 1) shared.pending.notify_one();
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
  shared.failed.store(false, std::memory_order_relaxed);
  shared.arrived.store(0, std::memory_order_relaxed);
  shared.pending.store(size_ - 1, std::memory_order_relaxed);
  if (size_ > 1) {
    shared.epoch.fetch_add(1, std::memory_order_release);
    shared.epoch.notify_all();
  }
  run_one(0);
  for (int left; (left = shared.pending.load(std::memory_order_acquire)) != 0;)
    wait_while_equal(shared.pending, left, shared.busy_spin);

  std::exception_ptr error = std::exchange(shared.first_error, nullptr);
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
