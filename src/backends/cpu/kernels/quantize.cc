#include "backends/cpu/kernels/quantize.h"

#include <algorithm>
#include <cmath>

namespace lathe::cpu {
namespace {

void store_parameters(const DynamicQuantizeArgs& args, int64_t row, const Int8Requantize& q) {
  args.scales[row] = q.scale;
  if (args.zeros != nullptr) args.zeros[row] = static_cast<uint8_t>(q.zero);
}

// Rows are shared by threads only where there is one: all threads look at a part of it, then all convert a part.
void quantize_one_row(ThreadTeam& team, const QuantizeKernels& kernels, const QuantizeRule& rule,
                      const DynamicQuantizeArgs& args) {
  constexpr int64_t kCacheLine = 64;
  const int64_t lines = (args.columns + kCacheLine - 1) / kCacheLine;
  team.run([&](int thread, int threads) {
    const Range part = even_part(lines, thread, threads);
    const int64_t begin = part.begin * kCacheLine, end = std::min(part.end * kCacheLine, args.columns);
    args.ranges[thread] = kernels.range(args.x + begin, end - begin);
    team.barrier();
    FloatRange all = args.ranges[0];
    for (int t = 1; t < threads; ++t)
      all = {std::min(all.low, args.ranges[t].low), std::max(all.high, args.ranges[t].high)};
    const Int8Requantize q = fit(rule, all);
    kernels.quantize(args.x + begin, end - begin, q, args.y + begin);
    if (thread == 0) store_parameters(args, 0, q);
  });
}

}  // namespace

Int8Requantize fit(const QuantizeRule& rule, const FloatRange& range) {
  if (rule.symmetric) {
    const float most = std::max(-range.low, range.high);
    return {most == 0 ? 1.0f : most / 127.0f, 0, -128, 127};
  }
  const float scale = range.low == range.high ? 1.0f : (range.high - range.low) / 255.0f;
  return {scale, std::nearbyint(std::clamp(0.0f - range.low / scale, 0.0f, 255.0f)), 0, 255};
}

void dynamic_quantize(ThreadTeam& team, const QuantizeKernels& kernels, const QuantizeRule& rule,
                      const DynamicQuantizeArgs& args) {
  if (args.rows == 1) return quantize_one_row(team, kernels, rule, args);
  team.parallel_for(args.rows, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const float* x = args.x + row * args.columns;
      const Int8Requantize q = fit(rule, kernels.range(x, args.columns));
      kernels.quantize(x, args.columns, q, args.y + row * args.columns);
      store_parameters(args, row, q);
    }
  });
}

}  // namespace lathe::cpu
