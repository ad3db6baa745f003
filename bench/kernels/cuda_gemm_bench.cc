// Matrix products on the GPU at the shapes of BERT: every kernel that the tuner may choose, against the fastest plain
// product of cuBLASLt in f16 (no bias, no activation) of the same sizes in the same run. Products of bytes are scaled
// by row and by column and give f16. Prints a table; the last column is the largest difference to the first kernel's
// results. Runs are recorded and replayed, on as many copies of the operands as the cache of the chip does not hold.
//   cuda_gemm_bench [FILTER]   FILTER: what a case's name has to contain
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <random>

#include "backends/cuda/cuda_backend.h"
#include "base/half.h"
#include "graph/text.h"

namespace lathe {
namespace {

using Clock = std::chrono::steady_clock;

struct Case {
  std::string name, type;
  int64_t m, n, k;
  std::string epilogue;  // of x0 and the extras; empty for none
  bool trans_b = false;

  bool bytes() const { return bit_width(*dtype_from_string(type)) == 8; }
  std::string output() const { return bytes() ? "f16" : type; }
};

constexpr size_t kBeyondCache = size_t{128} << 20;
constexpr int kMostCopies = 64, kSamples = 9;
constexpr double kSampleSeconds = 4e-3;

std::vector<std::byte> random_numbers(int64_t count, uint32_t seed, const std::string& type) {
  Tensor few(*dtype_from_string(type), {4099});
  std::minstd_rand random(seed);
  for (int64_t i = 0; i < few.elements(); ++i) {
    const auto number = static_cast<int64_t>(random() % 201) - 100;
    if (is_float(few.dtype()))
      few.write_double(i, static_cast<double>(number) / 100);
    else
      few.write_int(i, number);
  }
  std::vector<std::byte> bytes(storage_bytes(few.dtype(), count));
  for (size_t at = 0; at < bytes.size(); at += few.bytes().size())
    std::memcpy(bytes.data() + at, few.bytes().data(), std::min(few.bytes().size(), bytes.size() - at));
  return bytes;
}

class Bench {
 public:
  Bench(const Backend& backend, const Case& c) : backend_(backend), case_(c), context_(backend.make_context({})) {
    const std::string weight = c.trans_b ? fmt::format("[{}, {}]", c.n, c.k) : fmt::format("[{}, {}]", c.k, c.n);
    std::string parameters, operands, names = "x0";
    if (c.bytes()) add_extra("f32", {c.m, 1});
    if (c.bytes()) add_extra("f32", {c.n});
    if (!c.epilogue.empty()) add_extra(c.bytes() ? "f32" : c.type, {c.n});
    for (size_t i = 0; i < extras_.size(); ++i) {
      parameters += fmt::format(", %e{}: {}{}", i, to_string(extras_[i].dtype), to_string(extras_[i].dims));
      operands += fmt::format(", %e{}", i);
      names += fmt::format(", x{}", i + 1);
    }
    const std::string fields =
        fmt::format("trans_b = {}{}", c.trans_b,
                    c.epilogue.empty() ? "" : fmt::format(", epilogue = ({}) => {}", names, c.epilogue));
    graph_ = parse_graph(
        fmt::format("graph g(%x: {0}[{1}, {2}]{4}) {{ %w = constant {{value = {0}{3} splat(0)}} %y = matmul(%x, "
                    "%w{5}) {{{6}}} return %y as \"y\" }}",
                    c.type, c.m, c.k, weight, parameters, operands, fields));
    node_ = graph_->nodes().back().get();
    const DType type = *dtype_from_string(c.type);
    output_ = *dtype_from_string(c.output());
    const size_t round = storage_bytes(type, c.m * c.k + c.k * c.n) + storage_bytes(output_, c.m * c.n);
    const size_t copies = std::clamp<size_t>(kBeyondCache / round, 1, kMostCopies);
    const auto x = random_numbers(c.m * c.k, 1, c.type), w = random_numbers(c.k * c.n, 2, c.type);
    for (size_t i = 0; i < copies; ++i) {
      x_.push_back(upload(x));
      w_.push_back(upload(w));
      y_.push_back(allocate(storage_bytes(output_, c.m * c.n)));
    }
    context_->synchronize();
  }
  ~Bench() {
    for (void* memory : memory_) context_->release(memory);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  const Node& node() const { return *node_; }
  double flops() const { return 2.0 * static_cast<double>(case_.m * case_.n * case_.k); }

  // Seconds of one product.
  double time(const Step& step) {
    const std::vector<int64_t> x = {case_.m, case_.k}, y = {case_.m, case_.n};
    const std::vector<int64_t> w = case_.trans_b ? std::vector{case_.n, case_.k} : std::vector{case_.k, case_.n};
    const DType type = *dtype_from_string(case_.type);
    std::vector<TensorRef> inputs = {{x_[0], type, x, true, nullptr}, {w_[0], type, w, true, nullptr}};
    inputs.insert(inputs.end(), extras_.begin(), extras_.end());
    std::vector<TensorRef> outputs = {{y_[0], output_, y, true, nullptr}};
    const SymbolBindings symbols;
    const StepIo io{inputs, outputs, &symbols, 1, nullptr};
    const auto state = step.prepare(io);
    if (const size_t bytes = step.workspace_bytes(io); bytes > workspace_bytes_) {
      workspace_ = allocate(bytes);
      workspace_bytes_ = bytes;
    }
    const auto run = [&](size_t i) {
      inputs[0].data = x_[i % x_.size()];
      inputs[1].data = w_[i % w_.size()];
      outputs[0].data = y_[i % y_.size()];
      step.run(io, state.get(), workspace_, *context_);
    };
    context_->begin_run();
    run(0);
    context_->synchronize();
    const size_t repeats = std::max(x_.size(), static_cast<size_t>(kSampleSeconds / (flops() / 6e14 + 4e-6)));
    context_->begin_recording();
    for (size_t i = 0; i < repeats; ++i) run(i);
    const auto recording = context_->end_recording();
    std::vector<double> times;
    for (int sample = 0; sample < kSamples + 1; ++sample) {
      const auto start = Clock::now();
      context_->replay(*recording);
      context_->synchronize();
      times.push_back(std::chrono::duration<double>(Clock::now() - start).count() / static_cast<double>(repeats));
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

  // Of the latest results.
  std::vector<double> results() {
    Tensor y(output_, {case_.m, case_.n});
    context_->download(y.mutable_bytes(), y_.back());
    std::vector<double> values;
    for (int64_t i = 0; i < y.elements(); i += 61) values.push_back(y.read_double(i));
    return values;
  }
  void poison() {
    context_->upload(y_.back(), std::vector<std::byte>(storage_bytes(output_, case_.m * case_.n), std::byte{0x7f}));
  }

 private:
  void add_extra(const std::string& type, std::vector<int64_t> dims) {
    extra_dims_.push_back(std::make_unique<std::vector<int64_t>>(std::move(dims)));
    TensorRef extra{nullptr, *dtype_from_string(type), *extra_dims_.back(), true, nullptr};
    extra.data = upload(random_numbers(extra.elements(), 3, type));
    extras_.push_back(extra);
  }
  void* allocate(size_t bytes) { return memory_.emplace_back(context_->allocate(bytes)); }
  void* upload(std::span<const std::byte> bytes) {
    void* memory = allocate(bytes.size());
    context_->upload(memory, bytes);
    return memory;
  }

  const Backend& backend_;
  const Case& case_;
  std::unique_ptr<DeviceContext> context_;
  std::unique_ptr<Graph> graph_;
  const Node* node_ = nullptr;
  std::vector<void*> memory_, x_, w_, y_;
  std::vector<std::unique_ptr<std::vector<int64_t>>> extra_dims_;
  std::vector<TensorRef> extras_;
  DType output_ = DType::f16;
  void* workspace_ = nullptr;
  size_t workspace_bytes_ = 0;
};

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(a[i] - b[i]);
    most = std::isnan(difference) ? difference : std::max(most, difference);
    if (std::isnan(most)) break;
  }
  return most;
}

// The fastest plain product of cuBLASLt, in seconds.
double plain_time(const Backend& backend, Case c) {
  c.epilogue.clear();
  if (c.bytes()) c.type = "f16";
  Bench bench(backend, c);
  double best = 1;
  for (const Candidate& candidate : backend.candidates(bench.node()))
    if (candidate.declined.empty() && (candidate.kernel == "gemm" || candidate.kernel.rfind("gemm_lt", 0) == 0)) {
      const Lowered lowered = candidate.make();
      backend.finish_lowering();
      best = std::min(best, bench.time(*lowered.step));
    }
  return best;
}

void run(const Backend& backend, const Case& c) {
  const double plain = plain_time(backend, c);
  Bench bench(backend, c);
  fmt::print("\n{}: {} {} x {} x {}{}, epilogue {}; plain cuBLASLt {:.2f} us, {:.0f} TFLOP/s\n", c.name, c.type, c.m,
             c.n, c.k, c.trans_b ? " (b transposed)" : "", c.epilogue.empty() ? "none" : c.epilogue, plain * 1e6,
             bench.flops() / plain * 1e-12);
  std::vector<std::pair<std::string, Lowered>> kernels;
  for (const Candidate& candidate : backend.candidates(bench.node()))
    if (candidate.declined.empty()) kernels.emplace_back(candidate.kernel, candidate.make());
  backend.finish_lowering();
  std::vector<double> expected;
  for (const auto& [name, lowered] : kernels) try {
      bench.poison();
      const double seconds = bench.time(*lowered.step);
      const std::vector<double> results = bench.results();
      if (expected.empty()) expected = results;
      fmt::print("  {:28} {:9.2f} us {:6.0f} TFLOP/s  of plain {:5.3f}  difference {:.3g}\n", name, seconds * 1e6,
                 bench.flops() / seconds * 1e-12, plain / seconds, largest_difference(results, expected));
    } catch (const Error& error) {
      fmt::print("  {:28} {}\n", name, error.what());
    }
}

std::vector<Case> cases() {
  const std::string bias = "add(x0, x1)", gelu = "gelu_erf(add(x0, x1))";
  std::vector<Case> all;
  for (const int64_t m : {12288, 4096}) {
    const std::string at = fmt::format("large_{}", m);
    all.push_back({at + "_qkv", "f16", m, 3072, 1024, bias});
    all.push_back({at + "_out", "f16", m, 1024, 1024, bias});
    all.push_back({at + "_up", "f16", m, 4096, 1024, gelu});
    all.push_back({at + "_down", "f16", m, 1024, 4096, bias});
    all.push_back({at + "_plain", "f16", m, 4096, 1024, ""});
  }
  all.push_back({"large_12288_up_t", "f16", 12288, 4096, 1024, gelu, true});
  for (const auto& [model, width] : {std::pair{"base", 768}, {"large", 1024}}) {
    const std::string at = fmt::format("{}_128", model);
    all.push_back({at + "_qkv", "f16", 128, 3 * width, width, bias});
    all.push_back({at + "_out", "f16", 128, width, width, bias});
    all.push_back({at + "_up", "f16", 128, 4 * width, width, gelu});
    all.push_back({at + "_down", "f16", 128, width, 4 * width, bias});
  }
  const std::string scaled = "cast<f16>(add(mul(mul(cast<f32>(x0), x1), x2), x3))";
  for (const std::string type : {"i8", "f8e4m3"})
    for (const int64_t m : {12288, 4096, 128}) {
      const std::string at = fmt::format("{}_{}", type, m);
      all.push_back({at + "_qkv", type, m, 3072, 1024, scaled, true});
      all.push_back({at + "_out", type, m, 1024, 1024, scaled, true});
      all.push_back({at + "_up", type, m, 4096, 1024, "gelu_erf(" + scaled + ")", true});
      all.push_back({at + "_down", type, m, 1024, 4096, scaled, true});
    }
  return all;
}

}  // namespace
}  // namespace lathe

int main(int argc, char** argv) {
  try {
    const auto backend = lathe::cuda::make_cuda_backend({});
    for (const lathe::Case& c : lathe::cases())
      if (argc < 2 || c.name.find(argv[1]) != std::string::npos) lathe::run(*backend, c);
  } catch (const lathe::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
