// Matrix products at the shapes of BERT-base (200 tokens) and a few odd ones, per instruction set, number of threads
// and type of the weights; "bf16_unit" multiplies by dot products or tiles of bf16 where the machine has them.
// Counters: GFLOP/s, and its fraction of the multiply-add peak that the same threads reach right before; for few rows,
// whose weights come from memory, GB/s of weights beside what the same threads read right before.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "backends/cpu/cpu_context.h"
#include "backends/cpu/kernels/gemm.h"
#include "backends/cpu/kernels/gemm_bf16.h"
#include "backends/cpu/kernels/kernel_table.h"
#include "backends/cpu/kernels/probe.h"

namespace lathe::cpu {
namespace {

struct Shape {
  const char* name;
  int64_t m, n, k;
  Activation activation;
};

constexpr Activation kNone{}, kGelu{ActivationKind::gelu_erf};
constexpr Shape kShapes[] = {
    {"bert_qkv", 200, 2304, 768, kNone},  {"bert_proj", 200, 768, 768, kNone},
    {"bert_ffn1", 200, 3072, 768, kNone}, {"bert_ffn1_gelu", 200, 3072, 768, kGelu},
    {"bert_ffn2", 200, 768, 3072, kNone}, {"minilm_ffn1", 200, 1536, 384, kNone},
    {"short_ffn1", 32, 3072, 768, kNone}, {"batch_ffn1", 1024, 3072, 768, kNone},
    {"ragged", 197, 1000, 513, kNone},    {"decode_1", 1, 65536, 4096, kNone},
    {"decode_2", 2, 65536, 4096, kNone},  {"decode_4", 4, 65536, 4096, kNone},
    {"decode_8", 8, 65536, 4096, kNone},
};
constexpr int64_t kFewRows = 8;

struct Weights {
  const char* name;
  PanelType panels;
  bool unit;
};
constexpr Weights kWeights[] = {{"f32", PanelType::f32, false},
                                {"f16", PanelType::f16, false},
                                {"bf16", PanelType::bf16, false},
                                {"bf16_unit", PanelType::bf16, true}};

std::vector<float> ramp(int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 31) * 0.05f - 0.75f;
  return values;
}

void run_gemm(benchmark::State& state, Isa isa, int threads, const Shape& shape, const Weights& weights) {
  const KernelTable& kernels = kernel_table(isa);
  const GemmBf16Kernels* unit = weights.unit ? fast_bf16_unit(detect_cpu_features(), isa) : nullptr;
  CpuContext context({threads, 0});  // its memory comes in large pages, as weights do
  const int64_t weight_bytes = packed_b_bytes(weights.panels, kernels.gemm.nr, shape.k, shape.n);
  void* packed = context.allocate(static_cast<size_t>(weight_bytes));
  std::memset(packed, 0, static_cast<size_t>(weight_bytes));
  const std::vector<float> a = ramp(shape.m * shape.k), bias = ramp(shape.n);
  std::vector<float> c(static_cast<size_t>(shape.m * shape.n));
  Gemm g{shape.m, shape.n, shape.k, a.data(), shape.k, packed, {}, weights.panels};
  g.epilogue.bias = bias.data();
  g.epilogue.activation = shape.activation;
  g.epilogue.c = c.data();
  g.epilogue.ldc = shape.n;
  const int64_t floats =
      unit != nullptr ? gemm_bf16_workspace_bytes(*unit, g.m, g.k) / 4 + 1 : gemm_workspace_floats(kernels, g, threads);
  std::vector<float> workspace(static_cast<size_t>(floats));
  ThreadTeam team(threads);
  const double peak = measure_fma_gflops(team, kernels.probe);
  const bool from_memory = shape.m <= kFewRows;
  const double read = from_memory ? measure_read_gbytes_per_second(team, kernels.probe, weight_bytes) : 0;
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    if (unit != nullptr)
      gemm_bf16(team, kernels, *unit, g, workspace.data());
    else
      gemm(team, kernels, g, workspace.data());
    benchmark::ClobberMemory();
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  const double runs_per_ns = static_cast<double>(state.iterations()) / time.count() * 1e-9;
  const double gflops = 2.0 * static_cast<double>(shape.m * shape.n * shape.k) * runs_per_ns;
  state.counters["GFLOP/s"] = gflops;
  state.counters["of_peak"] = gflops / peak;
  if (from_memory) {
    state.counters["GB/s"] = static_cast<double>(weight_bytes) * runs_per_ns;
    state.counters["of_read"] = static_cast<double>(weight_bytes) * runs_per_ns / read;
  }
  context.release(packed);
}

void register_shape(Isa isa, int threads, const Weights& weights, const Shape& shape) {
  const std::string name = "gemm/" + std::string(to_string(isa)) + "/threads:" + std::to_string(threads) + "/" +
                           weights.name + "/" + shape.name;
  benchmark::RegisterBenchmark(name.c_str(), run_gemm, isa, threads, shape, weights)
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

void register_all() {
  const CpuFeatures features = detect_cpu_features();
  for (int i = static_cast<int>(features.best_isa); i >= 0; --i) {
    const Isa isa = static_cast<Isa>(i);
    const bool has_unit = fast_bf16_unit(features, isa) != nullptr;
    for (const int threads : {1, 2})
      for (const Weights& weights : kWeights)
        for (const Shape& shape : kShapes)
          if (!weights.unit || has_unit) register_shape(isa, threads, weights, shape);
  }
}

}  // namespace
}  // namespace lathe::cpu

int main(int argc, char** argv) {
  lathe::cpu::register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
