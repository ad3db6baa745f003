// A persistent team of threads that share one task at a time: fork, work, join. A session owns one.
//
// The caller is thread 0, so a team of one starts no thread and costs nothing. Between tasks a worker first spins for
// `spin` (a fork then takes some hundred nanoseconds), then sleeps until the next task: an idle team uses no CPU.
// Which part of the work a thread gets depends only on the counts, never on timing, so results are reproducible.
//
// One task at a time: a team belongs to one calling thread, and using it from inside its own task is an error.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace lathe {

// A reference to something callable, without allocation or ownership; the target must outlive the call it is passed to.
template <class Signature>
class FunctionRef;

template <class Result, class... Args>
class FunctionRef<Result(Args...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef> && std::is_invocable_r_v<Result, F&, Args...>)
      FunctionRef(F&& target)  // NOLINT(google-explicit-constructor): stands in for a function argument
      : target_(const_cast<void*>(static_cast<const void*>(std::addressof(target)))),
        call_([](void* object, Args... args) -> Result {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}

  Result operator()(Args... args) const { return call_(target_, std::forward<Args>(args)...); }

 private:
  void* target_;
  Result (*call_)(void*, Args...);
};

struct ThreadTeamOptions {
  // How long an idle worker polls before it sleeps. Zero: it sleeps at once.
  std::chrono::nanoseconds spin = std::chrono::microseconds(50);
};

struct Range {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// Part `index` of [0, n) cut into `count` contiguous parts whose sizes differ by at most one.
inline Range even_part(int64_t n, int64_t index, int64_t count) {
  return {n / count * index + n % count * index / count, n / count * (index + 1) + n % count * (index + 1) / count};
}

class ThreadTeam {
 public:
  // `threads` counts the caller. Throws Error(invalid_argument) when it is below 1.
  explicit ThreadTeam(int threads, ThreadTeamOptions options = {});
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return size_; }

  // Calls task(thread, size()) once on every thread and returns when all are done. When calls throw, the first
  // exception is rethrown here after the join; a thread that throws while others wait in barrier() does not leave them
  // hanging: their barrier() throws as well.
  void run(FunctionRef<void(int thread, int threads)> task);

  // Calls body(begin, end, thread) with the even parts of [0, n); threads with an empty part are not called. When n is
  // small, at most n threads take part.
  void parallel_for(int64_t n, FunctionRef<void(int64_t begin, int64_t end, int thread)> body);

  // Inside run() only: waits until every thread of the team has arrived. What was written before it by any thread is
  // visible after it to all. Lets several steps share one fork; every thread must call it equally often.
  void barrier();

 private:
  struct Shared;

  void worker(int thread);
  void run_one(int thread) noexcept;

  int size_;
  std::unique_ptr<Shared> shared_;
};

}  // namespace lathe
