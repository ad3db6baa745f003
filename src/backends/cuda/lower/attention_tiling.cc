#include "backends/cuda/lower/attention_tiling.h"

#include <algorithm>
#include <array>

#include "backends/cuda/kernels/attention_args.h"
#include "backends/cuda/lower/lower.h"

namespace lathe::cuda {
namespace {

constexpr int64_t kMaxSplits = 64;
constexpr int64_t kBlocksPerMultiprocessor = 4;  // of the smallest tiles, when the keys are split

int64_t round_up(int64_t x, int64_t multiple) { return ceil_div(x, multiple) * multiple; }

Tiling tensor_tiling(const Attention& op, ScoreKind score, int64_t rows, int64_t keys, int threads, int tiles) {
  const int64_t head = round_up(op.head_dim, 16), value = round_up(op.value_dim, 16);
  const auto tile = [&](int64_t width, HeadOrder order) {
    return order == HeadOrder::transposed ? width * (keys + 8) : keys * (width + 8);
  };
  const int64_t halves = rows * (head + 8) + tile(head, op.k_order) + tile(value, op.v_order);
  const int64_t biases = score == ScoreKind::key_bias ? keys * 4 : 0;
  return {"attention.cu", rows, keys, threads, tiles, head, value, static_cast<size_t>(halves * 2 + biases)};
}

Tiling f32_tiling(const Attention& op, int64_t rows, int64_t keys) {
  const int64_t head = round_up(op.head_dim, 4), value = round_up(op.value_dim, 64);
  const int64_t pitch = ((head / 4) | 1) * 4;  // as the kernel has it; its values need no more than this
  const int64_t floats = (rows + keys) * pitch + keys * value + rows * (keys + 4);
  return {"attention_f32.cu", rows, keys, 256, 1, head, value, static_cast<size_t>(floats) * sizeof(float)};
}

// ---- the kernel for Hopper ----

constexpr int kWarpgroup = 128;
constexpr int64_t kGroupRows = 64, kLineBytes = 128, kLine = 64;
constexpr int64_t kDepth = 2;                                                  // stages of keys and values
constexpr std::array<int64_t, 6> kResultWidths = {64, 80, 96, 128, 192, 256};  // that its instructions have

bool suits_hopper(const Attention& op, const DeviceInfo& device) {
  constexpr int64_t kLeastHead = 32;  // below, padding costs more than is gained
  return device.major == 9 && op.k_order != HeadOrder::transposed && op.v_order != HeadOrder::transposed &&
         std::min(op.head_dim, op.value_dim) >= kLeastHead;
}

Tiling hopper_tiling(const Attention& op, ScoreKind score, int consumers, size_t shared_limit) {
  const int64_t most = std::max(op.head_dim, op.value_dim);
  // As many keys as the registers allow; score programs take some too.
  const int64_t keys = most > 128 || score == ScoreKind::program ? 64 : 128;
  const int64_t value = *std::lower_bound(kResultWidths.begin(), kResultWidths.end(), op.value_dim);
  const int64_t head_lines = ceil_div(op.head_dim, kLine), value_lines = ceil_div(op.value_dim, kLine);
  const int64_t slab = consumers * head_lines * kGroupRows * kLineBytes;
  const int64_t rings = kDepth * (head_lines + value_lines) * keys * kLineBytes;
  const int64_t notes = kDepth * (4 * 8 + 4 + keys * 4);  // barriers, first keys, biases
  const auto bytes = [&](int slabs) { return static_cast<size_t>(slabs * slab + rings + notes); };
  const int slabs = bytes(2) <= shared_limit ? 2 : 1;
  return {"attention_sm90.cu",
          consumers * kGroupRows,
          keys,
          (consumers + 1) * kWarpgroup,
          1,
          round_up(op.head_dim, 16),
          value,
          bytes(slabs),
          consumers,
          slabs,
          score == ScoreKind::key_bias};
}

// What a block costs, in hundredths of the time of one warpgroup over 128 keys; measured on an H100.
struct HopperCost {
  int64_t start, step;  // a launch; 128 keys of a tile
};
constexpr std::array<HopperCost, 4> kHopperCosts = {{{}, {175, 100}, {223, 139}, {262, 163}}};  // by warpgroups

int64_t hopper_cost(const Tiling& tiling, const AttentionProblem& problem, int multiprocessors) {
  constexpr int64_t kStepKeys = 128;
  const HopperCost& cost = kHopperCosts[static_cast<size_t>(tiling.consumers)];
  const int64_t waves = ceil_div(problem.pairs * ceil_div(problem.rows, tiling.rows), multiprocessors);
  const int64_t steps = ceil_div(problem.keys, kStepKeys * (problem.causal ? 2 : 1)) + 1;  // 1: going to the next tile
  return cost.start + waves * steps * cost.step;
}

const Tiling& choose(const std::vector<Tiling>& all, const AttentionProblem& problem, int multiprocessors) {
  constexpr int64_t kFewRows = 32;  // generation: the smallest tiles waste least
  const auto end_of_hopper = std::find_if(all.begin(), all.end(), [](const Tiling& t) { return !t.hopper(); });
  if (end_of_hopper != all.begin() && problem.rows > kFewRows && problem.keys > 0)
    return *std::min_element(all.begin(), end_of_hopper, [&](const Tiling& a, const Tiling& b) {
      return hopper_cost(a, problem, multiprocessors) < hopper_cost(b, problem, multiprocessors);
    });
  const auto fills = [&](const Tiling& t) { return problem.pairs * ceil_div(problem.rows, t.rows) >= multiprocessors; };
  const auto found = std::find_if(end_of_hopper, all.end(), fills);
  return found != all.end() ? *found : all.back();
}

}  // namespace

std::vector<std::string> Tiling::defines() const {
  std::vector<std::string> all = {fmt::format("HEAD={}", head),       fmt::format("VALUE={}", value),
                                  fmt::format("ROWS={}", rows),       fmt::format("KEYS={}", keys),
                                  fmt::format("THREADS={}", threads), fmt::format("TILES={}", tiles)};
  if (!hopper()) return all;
  // Together no more than what a launch begins with: 168 registers a thread for three warpgroups, 128 for four. Two
  // have what the compiler gives them.
  const int consumer_registers = consumers == 1 ? 0 : consumers == 3 ? 160 : key_biases ? 232 : 240;
  const int producer_registers = consumers == 1 ? 0 : consumers == 3 ? 32 : key_biases ? 40 : 24;
  all.insert(all.end(), {fmt::format("CONSUMERS={}", consumers), fmt::format("DEPTH={}", kDepth),
                         fmt::format("SLABS={}", slabs), fmt::format("CONSUMER_REGISTERS={}", consumer_registers),
                         fmt::format("PRODUCER_REGISTERS={}", producer_registers)});
  return all;
}

std::vector<Tiling> attention_tilings(const Attention& op, DType type, ScoreKind score, bool packed,
                                      const DeviceInfo& device) {
  const int64_t most = std::max(op.head_dim, op.value_dim);
  const size_t shared_limit = device.shared_bytes - (op.packed ? kKeptStarts * sizeof(int) : 0);
  if (type == DType::f32) {
    const int64_t keys = most <= 64 ? 64 : most <= 128 ? 32 : 16;
    return {f32_tiling(op, most <= 128 ? 64 : 32, keys), f32_tiling(op, 16, keys)};
  }
  std::vector<Tiling> all;
  const bool program = score == ScoreKind::program;  // takes registers
  if (packed && suits_hopper(op, device)) {
    for (int consumers = most <= 64 && !program ? 3 : 2; consumers > (most > 128 && program ? 1 : 0); --consumers)
      all.push_back(hopper_tiling(op, score, consumers, shared_limit));
  }
  if (most <= 128) all.push_back(tensor_tiling(op, score, 128, most > 64 || program ? 32 : 64, 128, 2));
  all.push_back(tensor_tiling(op, score, 64, most > 128 && program ? 32 : 64, 128, 1));
  all.push_back(tensor_tiling(op, score, 16, 64, 32, 1));
  std::erase_if(all, [&](const Tiling& tiling) { return tiling.shared_bytes > shared_limit; });
  return all;
}

AttentionPlan plan_attention(const std::vector<Tiling>& tilings, const AttentionProblem& problem, int multiprocessors) {
  AttentionProblem likely = problem;
  if (problem.typical > 0) {
    likely.rows = problem.rows * problem.typical / problem.keys;
    likely.keys = problem.typical;
  }
  const Tiling& tiling = choose(tilings, likely, multiprocessors);
  const int64_t blocks = problem.pairs * ceil_div(problem.rows, tiling.rows);
  const int64_t key_tiles = std::max<int64_t>(ceil_div(problem.keys, tiling.keys), 1);
  // Joining the parts is another launch, so that each must have something to do.
  const int64_t least_tiles = tiling.hopper() ? 8 : 2;
  const int64_t wanted = multiprocessors * (tiling.hopper() ? 1 : kBlocksPerMultiprocessor) / blocks;
  int64_t splits = 1;
  if (problem.typical == 0 && blocks < multiprocessors)
    splits = std::clamp<int64_t>(wanted, 1, std::min(kMaxSplits, ceil_div(key_tiles, least_tiles)));
  const int64_t tiles_per_split = ceil_div(key_tiles, splits);
  return {&tiling, blocks, ceil_div(key_tiles, tiles_per_split), tiles_per_split * tiling.keys};
}

}  // namespace lathe::cuda
