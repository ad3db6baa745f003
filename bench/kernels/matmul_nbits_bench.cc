// The products of a LLaMA of 1.1 billion weights (22 layers of 2048 features, 32000 tokens) with weights of 4 and 8
// bits: decoding a few rows through all layers, which reads every weight once, beside the rate at which the same
// threads read memory; and prompts of many rows through one layer, beside the peak of 8-bit multiply-adds. A table of
// its own:
//   cpu_matmul_nbits_bench [threads] [bits] [block] [rows..]
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <vector>

#include "backends/cpu/kernels/gemm_int8.h"
#include "backends/cpu/kernels/matmul_nbits.h"
#include "backends/cpu/kernels/probe.h"

namespace lathe::cpu {
namespace {

struct Matrix {
  int64_t n, k;
};
constexpr Matrix kLayer[] = {{2560, 2048}, {2048, 2048}, {11264, 2048}, {2048, 5632}};
constexpr Matrix kHead = {32000, 2048};
constexpr int kLayers = 22;
constexpr int64_t kManyRows = 16;  // from here on one layer is enough

// What the head and all layers, or one layer, multiply with; f16 scales and no zeros.
class Model {
 public:
  Model(const KernelTable& kernels, const AmxInt8Kernels* tiles, int bits, int64_t block, bool whole)
      : bits_(bits), tiles_(tiles) {
    for (int layer = 0; layer < (whole ? kLayers : 1); ++layer)
      for (const Matrix& m : kLayer) add(kernels, m, block);
    if (whole) add(kernels, kHead, block);
  }

  void run(ThreadTeam& team, const KernelTable& kernels, int64_t rows, bool round_rows) {
    a_.resize(static_cast<size_t>(rows * 5632), 0.5f);
    c_.resize(static_cast<size_t>(rows * kHead.n));
    for (const Product& p : products_) {
      const NBitsShape shape = nbits_shape(p.matrix.k, p.block);
      MatMulNBitsArgs args{rows, p.matrix.n, a_.data(), {}, bits_ == 4, round_rows, {}};
      args.b = {shape,   p.weights.data(),   p.scales.data(),      NBitsParameter::f16,
                nullptr, NBitsParameter::u8, bits_ == 4 ? 8 : 128, 0};
      args.epilogue.c = c_.data();
      args.epilogue.ldc = p.matrix.n;
      args.tiles = tiles_;
      const size_t bytes = matmul_nbits_workspace_bytes(kernels, args, team.size());
      if (workspace_.size() < bytes + 64) workspace_.resize(bytes + 64);
      matmul_nbits(team, kernels, args,
                   workspace_.data() + 63 - (reinterpret_cast<uintptr_t>(workspace_.data()) + 63) % 64);
    }
  }

  // Reads every weight, as fast as loads go.
  void read(ThreadTeam& team, const KernelTable& kernels) const {
    for (const Product& p : products_) {
      const auto* data = reinterpret_cast<const float*>(p.weights.data());
      team.parallel_for(static_cast<int64_t>(p.weights.size() / sizeof(float)), [&](int64_t begin, int64_t end, int) {
        float sink = 0;
        kernels.probe.read(data + begin, end - begin, &sink);
      });
    }
  }

  double bytes() const {
    double sum = 0;
    for (const Product& p : products_) sum += static_cast<double>(p.weights.size() + 2 * p.scales.size());
    return sum;
  }
  double products() const {
    double sum = 0;
    for (const Product& p : products_) sum += static_cast<double>(p.matrix.n * p.matrix.k);
    return sum;
  }

 private:
  struct Product {
    Matrix matrix;
    int64_t block;
    std::vector<uint8_t> weights;
    std::vector<uint16_t> scales;
  };

  void add(const KernelTable& kernels, const Matrix& m, int64_t block) {
    block = block == 0 ? m.k : block;
    const int nr = kernels.matmul_nbits.nr;
    Product p{m, block, {}, {}};
    p.weights.resize(static_cast<size_t>(nbits_packed_bytes(nr, bits_, m.n, nbits_shape(m.k, block))));
    for (size_t i = 0; i < p.weights.size(); ++i) p.weights[i] = static_cast<uint8_t>(i * 37 + i / 64);
    p.scales.assign(static_cast<size_t>(nbits_parameter_bytes(nr, 1, m.n, nbits_blocks(m.k, block))), 0x1c00);
    products_.push_back(std::move(p));
  }

  int bits_;
  const AmxInt8Kernels* tiles_;
  std::vector<Product> products_;
  std::vector<float> a_, c_;
  std::vector<std::byte> workspace_;
};

struct Times {
  double product, read, peak;  // seconds; the last two for as many bytes and multiply-adds
};

// The machine may be slower for seconds: floors are taken right before each product, and the run with the median ratio
// of the two counts.
Times times_of(Model& model, ThreadTeam& team, const KernelTable& kernels, int64_t rows, bool round_rows) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](auto&& f) {
    const auto start = Clock::now();
    f();
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  model.run(team, kernels, rows, round_rows);
  std::vector<Times> runs;
  for (const auto deadline = Clock::now() + std::chrono::milliseconds(1000); Clock::now() < deadline;) {
    const double read = seconds([&] { model.read(team, kernels); });
    const double peak = 2e-9 * model.products() * static_cast<double>(rows) / measure_byte_gops(team, kernels.probe);
    runs.push_back({seconds([&] { model.run(team, kernels, rows, round_rows); }), read, peak});
  }
  const auto middle = runs.begin() + static_cast<std::ptrdiff_t>(runs.size() / 2);
  const auto floor = [](const Times& t) { return t.product / std::max(t.read, t.peak); };
  std::nth_element(runs.begin(), middle, runs.end(),
                   [&](const Times& a, const Times& b) { return floor(a) < floor(b); });
  return *middle;
}

void measure(int threads, int bits, int64_t block, const std::vector<int64_t>& rows_list) {
  const CpuFeatures features = detect_cpu_features();
  const KernelTable& kernels = kernel_table(features.best_isa);
  const AmxInt8Kernels* tiles = int8_tiles(features, features.best_isa);
  ThreadTeam team(threads);
  fmt::print("{} threads, int{}, {}{}\n", threads, bits, tiles == nullptr ? "" : "AMX tiles for many rows, ",
             block == 0 ? "per channel" : fmt::format("blocks of {}", block));
  fmt::print("{:>5} {:>8} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}\n", "rows", "a", "ms", "tok/s", "GB/s", "of read",
             "Gop/s", "of peak");
  Model whole(kernels, tiles, bits, block, true), layer(kernels, tiles, bits, block, false);
  for (const int64_t rows : rows_list) {
    for (const bool round_rows : {true, false}) {
      Model& model = rows < kManyRows ? whole : layer;
      const auto [seconds, read, peak] = times_of(model, team, kernels, rows, round_rows);
      const double share = model.products() / whole.products();  // of a pass through the whole model
      const double ops = 2e-9 * model.products() * static_cast<double>(rows);
      fmt::print("{:>5} {:>8} {:>10.2f} {:>9.1f} {:>9.1f} {:>9.2f} {:>9.0f} {:>9.2f}\n", rows,
                 round_rows ? "rounded" : "f32", seconds * 1e3, static_cast<double>(rows) * share / seconds,
                 model.bytes() / seconds * 1e-9, read / seconds, ops / seconds, peak / seconds);
    }
  }
}

}  // namespace
}  // namespace lathe::cpu

int main(int argc, char** argv) {
  const auto number = [&](int i, int fallback) { return argc > i ? std::atoi(argv[i]) : fallback; };
  std::vector<int64_t> rows;
  for (int i = 4; i < argc; ++i) rows.push_back(number(i, 1));
  if (rows.empty()) rows = {1, 4, 8, 512};
  lathe::cpu::measure(number(1, 2), number(2, 4), number(3, 32), rows);
  return 0;
}
