// The products of a LLaMA of 1.1 billion weights (22 layers of 2048 features, 32000 tokens) with weights of 4 and 8
// bits: decoding a few rows through all layers, which reads every weight once, beside the rate at which the same threads
// read memory; and prompts of many rows through one layer, beside the peak of 8-bit multiply-adds. A table of its own:
//   cpu_matmul_nbits_bench [threads] [bits] [block] [rows..]
#include <fmt/core.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

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
  Model(const KernelTable& kernels, int bits, int64_t block, bool whole) : bits_(bits) {
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
      args.b = {shape, p.weights.data(), p.scales.data(), NBitsParameter::f16, nullptr, NBitsParameter::u8,
                bits_ == 4 ? 8.0f : 128.0f, 0};
      args.epilogue.c = c_.data();
      args.epilogue.ldc = p.matrix.n;
      const size_t bytes = matmul_nbits_workspace_bytes(kernels, args, team.size());
      if (workspace_.size() < bytes + 64) workspace_.resize(bytes + 64);
      matmul_nbits(team, kernels, args, workspace_.data() + 63 - (reinterpret_cast<uintptr_t>(workspace_.data()) + 63) % 64);
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
  std::vector<Product> products_;
  std::vector<float> a_, c_;
  std::vector<std::byte> workspace_;
};

double seconds_of(Model& model, ThreadTeam& team, const KernelTable& kernels, int64_t rows, bool round_rows) {
  model.run(team, kernels, rows, round_rows);
  double best = 1e30;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(1000);
  do {
    const auto start = std::chrono::steady_clock::now();
    model.run(team, kernels, rows, round_rows);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  } while (std::chrono::steady_clock::now() < deadline);
  return best;
}

void measure(int threads, int bits, int64_t block, const std::vector<int64_t>& rows_list) {
  const KernelTable& kernels = kernel_table(detect_cpu_features().best_isa);
  ThreadTeam team(threads);
  const double read = measure_read_gbytes_per_second(team, kernels.probe, int64_t{2} << 30);
  const double peak = measure_byte_gops(team, kernels.probe);
  fmt::print("{} threads, reads {:.1f} GB/s, {:.0f} Gop/s of bytes; int{}, {}\n", threads, read, peak, bits,
             block == 0 ? "per channel" : fmt::format("blocks of {}", block));
  fmt::print("{:>5} {:>8} {:>10} {:>9} {:>9} {:>9} {:>9}\n", "rows", "a", "ms", "tok/s", "GB/s", "of read", "of peak");
  Model whole(kernels, bits, block, true), layer(kernels, bits, block, false);
  for (const int64_t rows : rows_list) {
    for (const bool round_rows : {true, false}) {
      Model& model = rows < kManyRows ? whole : layer;
      const double seconds = seconds_of(model, team, kernels, rows, round_rows);
      const double share = model.products() / whole.products();  // of a pass through the whole model
      const double rate = model.bytes() / seconds * 1e-9, ops = 2e-9 * model.products() * static_cast<double>(rows) / seconds;
      fmt::print("{:>5} {:>8} {:>10.2f} {:>9.1f} {:>9.1f} {:>9.2f} {:>9.2f}\n", rows, round_rows ? "rounded" : "f32",
                 seconds * 1e3, static_cast<double>(rows) * share / seconds, rate, rate / read, ops / peak);
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
