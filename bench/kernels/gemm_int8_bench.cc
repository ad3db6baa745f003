// Integer matrix products at the shapes of BERT-base, per unit ("tiles" are those of AMX) and number of threads.
// Counters: Gop/s, and its ratio to the peak of 8-bit multiply-adds in vectors that the same threads reach right
// before.
#include <benchmark/benchmark.h>

#include <chrono>
#include <string>
#include <vector>

#include "backends/cpu/kernels/gemm_int8.h"
#include "backends/cpu/kernels/kernel_table.h"
#include "backends/cpu/kernels/probe.h"

namespace lathe::cpu {
namespace {

struct Shape {
  int64_t m, n, k;
};

void run_gemm(benchmark::State& state, Isa isa, const AmxInt8Kernels* tiles, int threads, const Shape& shape) {
  const KernelTable& kernels = kernel_table(isa);
  std::vector<uint8_t> a(static_cast<size_t>(shape.m * shape.k)), b(static_cast<size_t>(shape.n * shape.k));
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<uint8_t>(i * 37);
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<uint8_t>(i * 73);
  std::vector<int8_t> packed(static_cast<size_t>(int8_packed_bytes(kernels.int8.nr, shape.k, shape.n)));
  int8_pack(kernels.int8.nr, {b.data(), true, shape.n, 1}, shape.k, shape.n, packed.data());
  const std::vector<float> scale(static_cast<size_t>(shape.n), 1e-3f), bias(static_cast<size_t>(shape.n), 1.0f);
  const std::vector<int32_t> zero(static_cast<size_t>(shape.n), 100);
  std::vector<float> c(static_cast<size_t>(shape.m * shape.n));
  GemmInt8 product{shape.m, shape.n, shape.k, a.data(), false, true, packed.data(), {}, tiles};
  product.epilogue.col_add = zero.data();
  product.epilogue.col_scale = scale.data();
  product.epilogue.bias = bias.data();
  product.epilogue.result = Int8Result::f32;
  product.epilogue.c = c.data();
  ThreadTeam team(threads);
  const double peak = measure_byte_gops(team, kernels.probe);
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    gemm_int8(team, kernels.int8, product, nullptr);
    benchmark::ClobberMemory();
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  const double operations = 2.0 * static_cast<double>(shape.m * shape.n * shape.k * state.iterations());
  state.counters["Gop/s"] = operations / time.count() * 1e-9;
  state.counters["of_peak"] = operations / time.count() * 1e-9 / peak;
}

void register_unit(const std::string& unit, Isa isa, const AmxInt8Kernels* tiles) {
  for (int threads : {1, 2}) {
    for (const auto& [n, k] : {std::pair<int64_t, int64_t>{768, 768}, {3072, 768}, {768, 3072}}) {
      for (int64_t m : {1, 8, 16, 32, 200, 512}) {
        const std::string name = "gemm_int8/" + unit + "/threads:" + std::to_string(threads) + "/" + std::to_string(m) +
                                 "x" + std::to_string(n) + "x" + std::to_string(k);
        benchmark::RegisterBenchmark(name.c_str(), run_gemm, isa, tiles, threads, Shape{m, n, k})
            ->UseRealTime()
            ->Unit(benchmark::kMicrosecond);
      }
    }
  }
}

void register_all() {
  const CpuFeatures features = detect_cpu_features();
  if (const AmxInt8Kernels* tiles = int8_tiles(features, features.best_isa))
    register_unit("tiles", features.best_isa, tiles);
  for (int i = static_cast<int>(features.best_isa); i >= 0; --i)
    register_unit(std::string(to_string(static_cast<Isa>(i))), static_cast<Isa>(i), nullptr);
}

}  // namespace
}  // namespace lathe::cpu

int main(int argc, char** argv) {
  lathe::cpu::register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
