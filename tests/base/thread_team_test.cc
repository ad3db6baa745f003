#include "base/thread_team.h"

#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/error.h"

namespace lathe {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// Team size and idle spin: both ways of waiting are tested, and more threads than cores as well.
struct Setting {
  int threads;
  nanoseconds spin;
};

class ThreadTeamTest : public testing::TestWithParam<Setting> {
 protected:
  ThreadTeam team{GetParam().threads, {.spin = GetParam().spin}};
};
INSTANTIATE_TEST_SUITE_P(All, ThreadTeamTest,
                         testing::Values(Setting{1, nanoseconds(0)}, Setting{2, std::chrono::microseconds(50)},
                                         Setting{2, nanoseconds(0)}, Setting{5, std::chrono::microseconds(50)},
                                         Setting{5, nanoseconds(0)}),
                         [](const auto& setting) {
                           return std::to_string(setting.param.threads) +
                                  (setting.param.spin.count() > 0 ? "spinning" : "sleeping");
                         });

TEST_P(ThreadTeamTest, RunCallsEveryThreadOnce) {
  const size_t size = static_cast<size_t>(team.size());
  for (int round = 0; round < 200; ++round) {
    std::vector<int> calls(size, 0);
    team.run([&](int thread, int threads) {
      EXPECT_EQ(threads, team.size());
      ++calls[static_cast<size_t>(thread)];
    });
    EXPECT_EQ(calls, std::vector<int>(size, 1));
  }
}

TEST_P(ThreadTeamTest, TheCallerIsThreadZero) {
  const auto caller = std::this_thread::get_id();
  team.run([&](int thread, int) { EXPECT_EQ(std::this_thread::get_id() == caller, thread == 0); });
}

TEST_P(ThreadTeamTest, ParallelForCoversTheRangeOnceInEvenParts) {
  for (int64_t n : {0, 1, 2, 3, 4, 7, 100, 1001}) {
    std::vector<int> seen(static_cast<size_t>(n), 0);
    std::atomic<int64_t> smallest = INT64_MAX, largest = 0;
    team.parallel_for(n, [&](int64_t begin, int64_t end, int thread) {
      EXPECT_LT(begin, end);
      EXPECT_LT(thread, team.size());
      for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      for (int64_t old = smallest; end - begin < old && !smallest.compare_exchange_weak(old, end - begin);) {
      }
      for (int64_t old = largest; end - begin > old && !largest.compare_exchange_weak(old, end - begin);) {
      }
    });
    EXPECT_EQ(seen, std::vector<int>(static_cast<size_t>(n), 1));
    if (n > 0) {
      EXPECT_LE(largest - smallest, 1);
    }
  }
}

TEST_P(ThreadTeamTest, BarrierSeparatesSteps) {
  const int threads = team.size();
  std::vector<int> values(static_cast<size_t>(threads), 0);
  team.run([&](int thread, int) {
    for (int step = 1; step <= 300; ++step) {
      values[static_cast<size_t>(thread)] = step;
      team.barrier();
      for (int value : values) EXPECT_EQ(value, step);  // plain memory: the barrier orders it
      team.barrier();
    }
  });
}

TEST_P(ThreadTeamTest, AnExceptionReachesTheCallerAndTheTeamLivesOn) {
  const int last = team.size() - 1;
  for (int round = 0; round < 20; ++round) {
    EXPECT_THROW(team.run([&](int thread, int) {
      if (thread == last) throw std::runtime_error("from a worker");
    }),
                 std::runtime_error);
    std::atomic<int> calls = 0;
    team.run([&](int, int) { ++calls; });
    EXPECT_EQ(calls, team.size());
  }
}

TEST_P(ThreadTeamTest, AThreadThatFailsDoesNotLeaveOthersInTheBarrier) {
  const int last = team.size() - 1;
  for (int round = 0; round < 50; ++round) {
    // The original error arrives, not the echo that the others get from the barrier.
    EXPECT_THROW(team.run([&](int thread, int) {
      team.barrier();
      if (thread == last) throw std::runtime_error("from a worker");
      team.barrier();
      team.barrier();
    }),
                 std::runtime_error);
    std::vector<int> values(static_cast<size_t>(team.size()), 0);
    team.run([&](int thread, int) {
      values[static_cast<size_t>(thread)] = 1;
      team.barrier();
      for (int value : values) EXPECT_EQ(value, 1);
    });
  }
}

TEST_P(ThreadTeamTest, NestedUseIsAnError) {
  const int last = team.size() - 1;
  const auto nested = [&](int thread, int) {
    if (thread == last) team.run([](int, int) {});
  };
  EXPECT_THROW(team.run(nested), Error);
  std::atomic<int> calls = 0;
  team.run([&](int, int) { ++calls; });
  EXPECT_EQ(calls, team.size());
}

TEST(ThreadTeamLifeTest, NeedsAThread) {
  EXPECT_THROW(ThreadTeam(0), Error);
  EXPECT_THROW(ThreadTeam(-3), Error);
}

TEST(ThreadTeamLifeTest, StartsAndStopsWithoutWork) {
  for (int i = 0; i < 50; ++i) ThreadTeam team(3);
}

TEST(ThreadTeamLifeTest, AnIdleTeamUsesNoCpu) {
  ThreadTeam team(4);
  team.run([](int, int) {});
  std::this_thread::sleep_for(milliseconds(20));  // the workers' spinning ends
  const auto cpu_time = [] {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
  };
  const auto before = cpu_time();
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_LT(cpu_time() - before, milliseconds(20));
}

TEST(EvenPartTest, PartsAreContiguousAndDifferByAtMostOne) {
  for (int64_t n : {int64_t{0}, int64_t{1}, int64_t{7}, int64_t{200}, int64_t{1} << 60})
    for (int64_t count : {1, 2, 3, 16, 97}) {
      int64_t at = 0;
      for (int64_t i = 0; i < count; ++i) {
        const Range part = even_part(n, i, count);
        ASSERT_EQ(part.begin, at);
        ASSERT_GE(part.size(), n / count);
        ASSERT_LE(part.size(), n / count + 1);
        at = part.end;
      }
      ASSERT_EQ(at, n);
    }
}

}  // namespace
}  // namespace lathe
