// Attention over a paged cache on the CPU: generation, where keys and values are read once for each token (their bytes
// over the bandwidth are the floor), and chunks of prompts (multiply-adds over the peak). Sequences take turns in a
// pool larger than any cache of the processor. Counters: GB/s or Gflop/s, and the fraction of what the same threads
// reach right before.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/kernels/paged_attention.h"
#include "backends/cpu/kernels/probe.h"

namespace lathe::cpu {
namespace {

struct Case {
  std::string name;
  int64_t heads, kv_heads, dim;
  int64_t sequences, tokens, context;  // tokens: new ones of each sequence
  DType cache;
};

constexpr int64_t kBlockSize = 16;
constexpr int64_t kPoolBytes = int64_t{768} << 20;

// A pool in which conversations lie in scrambled blocks, and the operands of one step.
class Decoder {
 public:
  explicit Decoder(const Case& c) : case_(c) {
    const int64_t row = c.kv_heads * c.dim * (bit_width(c.cache) / 8), width = c.context / kBlockSize;
    turns_ = std::max<int64_t>(kPoolBytes / (2 * row * c.context * c.sequences), 1);
    blocks_ = turns_ * c.sequences * width;
    keys_.assign(static_cast<size_t>(blocks_ * kBlockSize * row), std::byte{0x22});  // a small number in each type
    values_ = keys_;
    table_.resize(static_cast<size_t>(blocks_));
    std::iota(table_.begin(), table_.end(), 0);
    std::shuffle(table_.begin(), table_.end(), std::mt19937(1));
    for (int64_t s = 0; s <= c.sequences; ++s) starts_.push_back(static_cast<int32_t>(s * c.tokens));
    contexts_.assign(static_cast<size_t>(c.sequences), static_cast<int32_t>(c.context));
    const int64_t columns = (c.heads + 2 * c.kv_heads) * c.dim;
    x_.assign(static_cast<size_t>(c.sequences * c.tokens * columns), 0.01f);
    y_.resize(static_cast<size_t>(c.sequences * c.tokens * c.heads * c.dim));
  }

  PagedAttention step(int64_t turn) {
    const int64_t width = case_.context / kBlockSize, columns = (case_.heads + 2 * case_.kv_heads) * case_.dim;
    const auto table = std::span(table_).subspan(static_cast<size_t>(turn % turns_ * case_.sequences * width),
                                                 static_cast<size_t>(case_.sequences * width));
    PagedAttention a;
    a.heads = case_.heads;
    a.kv_heads = case_.kv_heads;
    a.head_dim = a.value_dim = case_.dim;
    a.scale = 0.1f;
    a.step = {case_.sequences * case_.tokens, blocks_, kBlockSize, width, starts_, contexts_, table, {}, {}};
    a.q = {x_.data(), columns, case_.dim};
    a.k = {x_.data() + case_.heads * case_.dim, columns, case_.dim};
    a.v = {x_.data() + (case_.heads + case_.kv_heads) * case_.dim, columns, case_.dim};
    a.cache = case_.cache;
    a.key_cache = keys_.data();
    a.value_cache = values_.data();
    a.out = y_.data();
    return a;
  }

 private:
  const Case& case_;
  int64_t turns_ = 0, blocks_ = 0;
  std::vector<std::byte> keys_, values_;
  std::vector<int32_t> table_, starts_, contexts_;
  std::vector<float> x_, y_;
};

void run_step(benchmark::State& state, Isa isa, int threads, const Case& c) {
  const KernelTable& kernels = kernel_table(isa);
  Decoder decoder(c);
  ThreadTeam team(threads);
  const bool generation = c.tokens == 1;
  const double limit = generation ? measure_read_gbytes_per_second(team, kernels.probe, kPoolBytes)
                                  : measure_fma_gflops(team, kernels.probe);
  std::vector<std::byte> workspace(paged_attention_workspace_bytes(kernels, decoder.step(0), threads) + 64);
  int64_t turn = 0;
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    const PagedAttention step = decoder.step(turn++);
    check(step.step);
    paged_attention(team, kernels, step, workspace.data());
    benchmark::ClobberMemory();
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  const double steps = static_cast<double>(state.iterations()) / time.count() * 1e-9;
  const auto past = static_cast<double>(c.context) - 0.5 * static_cast<double>(c.tokens - 1);
  const auto rows = static_cast<double>(c.sequences * c.tokens * c.heads);
  const auto bytes = static_cast<double>(2 * c.sequences * c.context * c.kv_heads * c.dim * bit_width(c.cache) / 8);
  const double rate = steps * (generation ? bytes : 4 * rows * past * static_cast<double>(c.dim));
  state.counters[generation ? "GB/s" : "Gflop/s"] = rate;
  state.counters["of_limit"] = rate / limit;
}

const std::vector<Case> kCases = {{"generate_1", 32, 32, 128, 1, 1, 2048, DType::f16},
                                  {"generate_1", 32, 32, 128, 1, 1, 2048, DType::bf16},
                                  {"generate_1", 32, 32, 128, 1, 1, 2048, DType::f32},
                                  {"generate_1_grouped", 32, 4, 64, 1, 1, 2048, DType::f16},
                                  {"generate_1_grouped", 32, 4, 64, 1, 1, 2048, DType::f32},
                                  {"generate_16", 32, 8, 128, 16, 1, 512, DType::f16},
                                  {"prompt", 32, 4, 64, 1, 512, 512, DType::f32},
                                  {"prompt", 32, 32, 128, 1, 512, 512, DType::f16},
                                  {"chunk", 32, 8, 128, 1, 256, 2048, DType::f16}};

void register_all() {
  const int best = static_cast<int>(detect_cpu_features().best_isa);
  for (int i = best; i > 0; --i) {
    for (const int threads : {1, 2}) {
      for (const Case& c : kCases) {
        const Isa isa = static_cast<Isa>(i);
        const std::string name = "paged_attention/" + std::string(to_string(isa)) + "/" + c.name + "/" +
                                 std::string(to_string(c.cache)) + "/threads:" + std::to_string(threads);
        benchmark::RegisterBenchmark(name.c_str(), run_step, isa, threads, c)
            ->UseRealTime()
            ->MinTime(0.3)
            ->Unit(benchmark::kMicrosecond);
      }
    }
  }
}

}  // namespace
}  // namespace lathe::cpu

int main(int argc, char** argv) {
  lathe::cpu::register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
