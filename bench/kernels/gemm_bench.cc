// Matrix products at the shapes of BERT-base (200 tokens) and a few odd ones, per instruction set and number of
// threads. Counters: GFLOP/s, and its fraction of the multiply-add peak that the same threads reach right before.
#include <benchmark/benchmark.h>

#include <chrono>
#include <string>
#include <vector>

#include "backends/cpu/kernels/gemm.h"
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
    {"decode_1", 1, 4096, 4096, kNone},   {"decode_4", 4, 4096, 4096, kNone},
    {"ragged", 197, 1000, 513, kNone},
};

std::vector<float> ramp(int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 31) * 0.05f - 0.75f;
  return values;
}

void run_gemm(benchmark::State& state, Isa isa, int threads, const Shape& shape) {
  const KernelTable& kernels = kernel_table(isa);
  const std::vector<float> a = ramp(shape.m * shape.k), bias = ramp(shape.n);
  const std::vector<float> packed = ramp(packed_b_floats(kernels.gemm.nr, shape.k, shape.n));
  std::vector<float> c(static_cast<size_t>(shape.m * shape.n));
  GemmEpilogue epilogue;
  epilogue.bias = bias.data();
  epilogue.activation = shape.activation;
  epilogue.c = c.data();
  epilogue.ldc = shape.n;
  ThreadTeam team(threads);
  const double peak = measure_fma_gflops(team, kernels.probe);
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    gemm(team, kernels.gemm, {shape.m, shape.n, shape.k, a.data(), shape.k, packed.data(), epilogue});
    benchmark::ClobberMemory();
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  const double flops = 2.0 * static_cast<double>(shape.m * shape.n * shape.k * state.iterations());
  state.counters["GFLOP/s"] = flops / time.count() * 1e-9;
  state.counters["of_peak"] = flops / time.count() * 1e-9 / peak;
}

void register_all() {
  const int best = static_cast<int>(detect_cpu_features().best_isa);
  for (int i = best; i >= 0; --i) {
    for (int threads : {1, 2}) {
      for (const Shape& shape : kShapes) {
        const Isa isa = static_cast<Isa>(i);
        const std::string name =
            "gemm/" + std::string(to_string(isa)) + "/threads:" + std::to_string(threads) + "/" + shape.name;
        benchmark::RegisterBenchmark(name.c_str(), run_gemm, isa, threads, shape)
            ->UseRealTime()
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
}
