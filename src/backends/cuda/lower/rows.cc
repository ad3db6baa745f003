#include "backends/cuda/lower/rows.h"

#include <bit>

namespace lathe::cuda {
namespace {

constexpr int kLoopThreads = 512;     // for rows that are read again
constexpr int64_t kWarpValues = 32;   // that a thread of a warp may hold
constexpr int64_t kBlockValues = 16;  // that a thread of a block may hold
constexpr int kShortChunks = 2;       // of a thread, for rows that share a warp
constexpr unsigned kFewBlocks = 2;    // for each multiprocessor
constexpr int64_t kLeastGroup = 4, kWarpThreads = 32, kLeastBlock = 128, kMostBlock = 1024;

}  // namespace

RowPlan RowPlan::of(int64_t width, int vector) {
  const int64_t packs = std::max<int64_t>(ceil_div(width, vector), 1);
  const auto chunks = [&](int64_t threads) {
    return static_cast<int>(std::bit_ceil(static_cast<uint64_t>(ceil_div(packs, threads))));
  };
  for (int64_t threads = kLeastGroup; threads < kWarpThreads; threads *= 2)
    if (chunks(threads) <= kShortChunks) return {static_cast<int>(threads), chunks(threads), vector};
  if (chunks(kWarpThreads) * vector <= kWarpValues) return {kWarpThreads, chunks(kWarpThreads), vector};
  for (int64_t threads = kLeastBlock; threads <= kMostBlock; threads *= 2) {
    if (chunks(threads) * vector <= kBlockValues) return {static_cast<int>(threads), chunks(threads), vector};
  }
  return {kLoopThreads, 0, vector};
}

RowPlan RowPlan::of_few(int64_t width, int vector) {
  const RowPlan plan = of(width, vector);
  const auto threads = static_cast<int>(std::bit_ceil(static_cast<uint64_t>(ceil_div(width, vector))));
  if (plan.group >= kLeastBlock || threads < kLeastBlock || threads > kMostBlock) return plan;
  return {threads, 1, vector};
}

std::vector<RowPlan> RowPlan::any(int vector) {
  std::vector<RowPlan> plans;
  for (const int v : {vector, 1}) {
    plans.push_back(among_any(1, v));
    plans.push_back(among_any(int64_t{1} << 40, v));
  }
  return plans;
}

RowPlan RowPlan::among_any(int64_t width, int vector) {
  if (width <= kWarpThreads * kWarpValues) return {kWarpThreads, static_cast<int>(kWarpValues) / vector, vector};
  return {kLoopThreads, 0, vector};
}

void RowPlan::add_defines(std::vector<std::string>& defines) const {
  defines.push_back(fmt::format("GROUP={}", group));
  defines.push_back(fmt::format("CHUNKS={}", chunks));
  defines.push_back(fmt::format("VECTOR={}", vector));
}

RowKernels::RowKernels(KernelSpec base, const Dim& width, int vector, const Target& target)
    : base_(std::move(base)), fixed_(width.is_constant()), vector_(vector), target_(target) {
  if (!fixed_) {
    for (const RowPlan& plan : RowPlan::any(vector)) request(plan);
    return;
  }
  const int packed = width.value() % vector == 0 ? vector : 1;
  request(RowPlan::of(width.value(), packed));
  request(RowPlan::of_few(width.value(), packed));
}

const Kernel& RowKernels::request(const RowPlan& plan) const {
  KernelSpec spec = base_;
  plan.add_defines(spec.defines);
  return target_.kernels.request(spec);
}

RowKernels::Choice RowKernels::choose(int64_t rows, int64_t width, bool packed) const {
  const int vector = packed ? vector_ : 1;
  RowPlan plan = fixed_ ? RowPlan::of(width, vector) : RowPlan::among_any(width, vector);
  if (fixed_ && !target_.uniform &&
      plan.blocks(rows) < kFewBlocks * static_cast<unsigned>(target_.device.multiprocessors))
    plan = RowPlan::of_few(width, vector);
  const Kernel& kernel = request(plan);
  target_.kernels.build();  // for operands whose strides turned out not to allow packs
  return {&kernel, plan};
}

}  // namespace lathe::cuda
