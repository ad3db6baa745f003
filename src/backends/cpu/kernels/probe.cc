#include "backends/cpu/kernels/probe.h"

#include <algorithm>
#include <vector>

#include "base/stopwatch.h"

namespace lathe::cpu {
namespace {

constexpr int kRuns = 5;

template <class F>
double seconds(F run) {
  const Stopwatch watch;
  run();
  return watch.seconds();
}

constexpr int64_t kIterations = 300'000;  // about 2 ms at two multiply-adds a cycle

// The best rate, in 1e9 operations a second, of loops that say how many operations they were.
template <class Loop>
double measure_rate(ThreadTeam& team, Loop loop) {
  double best = 0;
  for (int i = 0; i < kRuns; ++i) {
    int64_t operations = 0;
    const double time = seconds([&] {
      team.run([&](int thread, int threads) {
        const int64_t mine = loop();
        if (thread == 0) operations = mine * threads;
      });
    });
    best = std::max(best, static_cast<double>(operations) / time * 1e-9);
  }
  return best;
}

}  // namespace

double measure_fma_gflops(ThreadTeam& team, const ProbeKernels& kernels) {
  const volatile float value = 0.5f;  // volatile: unknown to the compiler; small: no chain overflows
  return measure_rate(team, [&] {
    float sink = 0;
    return kernels.multiply_adds(kIterations, value, &sink);
  });
}

double measure_byte_gops(ThreadTeam& team, const ProbeKernels& kernels) {
  const volatile uint8_t value = 3;
  return measure_rate(team, [&] {
    int32_t sink = 0;
    return kernels.byte_multiply_adds(kIterations, value, &sink);
  });
}

double measure_read_gbytes_per_second(ThreadTeam& team, const ProbeKernels& kernels, int64_t bytes) {
  constexpr int64_t kLeastBytesPerRun = 32 << 20;
  const int64_t floats = std::max<int64_t>(bytes / static_cast<int64_t>(sizeof(float)), 1);
  const int64_t repeats = std::max<int64_t>(kLeastBytesPerRun / (floats * static_cast<int64_t>(sizeof(float))), 1);
  std::vector<float> buffer(static_cast<size_t>(floats), 1.0f);
  double best = 0;
  for (int i = 0; i < kRuns; ++i) {
    const double time = seconds([&] {
      team.parallel_for(floats, [&](int64_t begin, int64_t end, int) {
        float sink = 0;
        for (int64_t r = 0; r < repeats; ++r) kernels.read(buffer.data() + begin, end - begin, &sink);
      });
    });
    best = std::max(best, static_cast<double>(floats * repeats) * sizeof(float) / time * 1e-9);
  }
  return best;
}

}  // namespace lathe::cpu
