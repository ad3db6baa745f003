#include "build/machine_peak.h"

#include <algorithm>

#include "backends/cpu/kernels/kernel_table.h"
#include "backends/cpu/kernels/probe.h"

namespace lathe {
namespace {

constexpr size_t kAssumedL2 = size_t{1} << 20;
constexpr size_t kAssumedL3 = size_t{32} << 20;
// Enough that a shared last-level cache of which others use a part holds little of it.
constexpr size_t kLeastMemoryProbe = size_t{128} << 20;
constexpr size_t kMostMemoryProbe = size_t{512} << 20;

}  // namespace

double MachinePeak::floor_seconds(double flops, double bytes) const {
  const auto fits = [&](const Level& level) { return bytes <= static_cast<double>(level.bytes); };
  const auto level = std::find_if(levels.begin(), levels.end() - 1, fits);
  return std::max(flops / (gflops * 1e9), bytes / (level->gbytes_per_second * 1e9));
}

MachinePeak measure_machine_peak(Isa isa, int threads) {
  const CpuFeatures features = detect_cpu_features();
  const cpu::ProbeKernels& kernels = cpu::kernel_table(isa).probe;
  ThreadTeam team(threads);
  const size_t l2 = (features.l2_bytes > 0 ? features.l2_bytes : kAssumedL2) * static_cast<size_t>(threads);
  const size_t l3 = std::max(features.l3_bytes > 0 ? features.l3_bytes : kAssumedL3, 2 * l2);
  const size_t memory = std::clamp(4 * l3, kLeastMemoryProbe, kMostMemoryProbe);
  MachinePeak peak;
  peak.gflops = cpu::measure_fma_gflops(team, kernels);
  peak.byte_gops = cpu::measure_byte_gops(team, kernels);
  // Probes fill half of a cache: the other half holds what else a step touches.
  for (const auto& [limit, probe] : {std::pair{l2, l2 / 2}, std::pair{l3, l3 / 2}, std::pair{memory, memory}})
    peak.levels.push_back({limit, cpu::measure_read_gbytes_per_second(team, kernels, static_cast<int64_t>(probe))});
  return peak;
}

}  // namespace lathe
