// Runs small graphs, written in the text form, on a backend as an engine would (legalise, lower, executor) and compares
// with the reference evaluator. Built twice: for the CPU (each instruction set of the machine, one thread and several),
// and, with LATHE_TEST_CUDA, for the GPU, where the tests are skipped when there is none.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/reference/reference_backend.h"
#include "build/program.h"
#include "graph/reference/evaluator.h"
#include "graph/text.h"
#include "runtime/executor.h"
#include "tests/backends/cpu/kernel_test.h"

namespace lathe::cpu {

using Sizes = std::vector<int64_t>;

// Uniform in [low, high]; integers too. The same seed gives the same tensor.
inline Tensor random_tensor(DType dtype, Sizes dims, uint32_t seed, double low = -2, double high = 2) {
  Tensor t(dtype, std::move(dims));
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> real(low, high);
  std::uniform_int_distribution<int64_t> integer(static_cast<int64_t>(low), static_cast<int64_t>(high));
  for (int64_t i = 0; i < t.elements(); ++i) {
    if (is_float(dtype))
      t.write_double(i, real(engine));
    else
      t.write_int(i, integer(engine));
  }
  return t;
}
inline Tensor floats(Sizes dims, uint32_t seed = 1) { return random_tensor(DType::f32, std::move(dims), seed); }
inline Tensor ids(Sizes dims, int64_t below, uint32_t seed = 1) {
  return random_tensor(DType::i64, std::move(dims), seed, 0, static_cast<double>(below - 1));
}

// A graph from the text form without its name and without the names of outputs: "(%x: f32[n, 4]) { .. return %y, %z }".
inline std::unique_ptr<Graph> graph_of(const std::string& text) {
  const size_t results = text.rfind("return ");
  std::string named = "graph test" + text.substr(0, results);
  int outputs = 0;
  for (const char c : text.substr(results)) {
    if (c == ',' || c == '}') named += " as \"o" + std::to_string(outputs++) + "\"";
    named += c;
  }
  return parse_graph(named);
}

// What a lowering test runs on.
struct LowerDevice {
  std::string name;  // "cpu" or "cuda"
  Isa isa = Isa::generic;

  std::unique_ptr<Backend> make_backend() const {
    // Compiled kernels are kept, as many tests ask for the same ones.
    return name == "cuda" ? cuda::make_cuda_backend({.kernel_cache = testing::TempDir() + "lathe_test_kernels"})
                          : make_cpu_backend(isa);
  }
  std::vector<int> thread_counts() const { return name == "cuda" ? std::vector<int>{1} : std::vector<int>{1, 3}; }
};

inline void PrintTo(const LowerDevice& device, std::ostream* out) {
  *out << device.name << " " << to_string(device.isa);
}

inline std::vector<LowerDevice> lower_devices() {
#ifdef LATHE_TEST_CUDA
  return {{"cuda", Isa::generic}};
#else
  std::vector<LowerDevice> devices;
  for (const Isa isa : available_isas()) devices.push_back({"cpu", isa});
  return devices;
#endif
}

inline std::string lower_device_name(const testing::TestParamInfo<LowerDevice>& info) {
  return info.param.name == "cuda" ? "cuda" : std::string(to_string(info.param.isa));
}

#define LATHE_FOR_EACH_DEVICE(suite) \
  INSTANTIATE_TEST_SUITE_P(Device, suite, testing::ValuesIn(lower_devices()), lower_device_name)

// Why there is no GPU; empty when there is one, which is then held until the program ends: a test that had to wake it
// up again would spend a quarter of a second, and all programs on that GPU with it.
inline const std::string& why_no_gpu() {
  static std::unique_ptr<Backend> held;
  static const std::string why = []() -> std::string {
    try {
      held = cuda::make_cuda_backend({});
      return {};
    } catch (const Error& error) {
      return error.what();
    }
  }();
  return why;
}

struct LowerOptions {
  double tolerance = 2e-5;  // of floats, relative to 1 + |expected|
  bool legalize = true;
  std::string falls_back;  // the op that may run on the reference backend
};

// A program with everything that it needs to run.
class LoweredGraph {
 public:
  LoweredGraph(const Graph& graph, const LowerDevice& device, int threads, bool legalize,
               const KernelChoices& choices = {})
      : backend_(device.make_backend()), context_(backend_->make_context({threads, 0})), graph_(graph.clone()) {
    if (legalize) backend_->legalize(*graph_);
    fallbacks_.push_back(make_reference_backend());
    if (!context_->host_memory()) context_->set_host(fallbacks_.front()->make_context({}));
    program_ = lathe::lower(*graph_, *backend_, fallbacks_, choices);
    for (const Weight& weight : program_.weights) weights_.push_back(upload(weight));
    executor_ = std::make_unique<Executor>(*graph_, program_, weights_, *context_);
  }
  ~LoweredGraph() {
    for (void* weight : weights_) context_->release(weight);
  }
  LoweredGraph(const LoweredGraph&) = delete;
  LoweredGraph& operator=(const LoweredGraph&) = delete;

  const Program& program() const { return program_; }
  const Graph& graph() const { return *graph_; }

  // The outputs, followed by what the run leaves in inputs that are state; `inputs` themselves stay as they are.
  std::vector<Tensor> run(const std::vector<Tensor>& inputs) {
    std::vector<TensorRef> refs, outputs(graph_->outputs().size());
    std::vector<Tensor> aligned;
    for (size_t i = 0; i < inputs.size(); ++i) {
      aligned.push_back(inputs[i].aligned());
      if (is_state(*graph_->inputs()[i])) aligned.back().mutable_bytes();
    }
    std::vector<void*> copies;
    for (const Tensor& input : aligned) {
      void* memory = const_cast<std::byte*>(input.bytes().data());
      if (!context_->host_memory()) {
        memory = copies.emplace_back(context_->allocate(std::max<size_t>(input.bytes().size(), 1)));
        context_->upload(memory, input.bytes());
      }
      refs.push_back({memory, input.dtype(), input.dims(), true, nullptr});
    }
    executor_->run(refs, outputs);
    std::vector<Tensor> results;
    for (const TensorRef& out : outputs) {
      Tensor& result = results.emplace_back(out.dtype, Sizes(out.dims.begin(), out.dims.end()));
      context_->download(result.mutable_bytes(), out.data);
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!is_state(*graph_->inputs()[i])) continue;
      Tensor& result = results.emplace_back(inputs[i].dtype(), inputs[i].dims());
      context_->download(result.mutable_bytes(), refs[i].data);
    }
    for (void* copy : copies) context_->release(copy);
    return results;
  }

 private:
  void* upload(const Weight& weight) {
    const Tensor value = weight.node->as<Constant>()->value.aligned();
    const size_t bytes = weight.layout.plain() ? value.bytes().size()
                                               : backend_->packed_bytes(weight.layout, value.dtype(), value.dims());
    std::vector<std::byte> packed(weight.layout.plain() ? 0 : bytes);
    if (!weight.layout.plain()) backend_->pack(weight.layout, value, packed);
    void* memory = context_->allocate(std::max<size_t>(bytes, 1));
    context_->upload(memory, weight.layout.plain() ? value.bytes() : packed);
    context_->synchronize();
    return memory;
  }

  std::unique_ptr<Backend> backend_;
  std::vector<std::unique_ptr<Backend>> fallbacks_;
  std::unique_ptr<DeviceContext> context_;
  std::unique_ptr<Graph> graph_;
  Program program_;
  std::vector<void*> weights_;
  std::unique_ptr<Executor> executor_;
};

inline void expect_close(const Tensor& actual, const Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.dtype(), expected.dtype());
  ASSERT_EQ(actual.dims(), expected.dims());
  for (int64_t i = 0; i < expected.elements(); ++i) {
    if (!is_float(expected.dtype())) {
      ASSERT_EQ(actual.read_int(i), expected.read_int(i)) << "element " << i;
      continue;
    }
    const double a = actual.read_double(i), e = expected.read_double(i);
    if (std::isnan(e) || std::isinf(e) || tolerance == 0) {
      ASSERT_TRUE(a == e || (std::isnan(a) && std::isnan(e))) << "element " << i << ": " << a << ", expected " << e;
    } else {
      ASSERT_NEAR(a, e, tolerance * (1 + std::abs(e))) << "element " << i;
    }
  }
}

class LowerTest : public testing::TestWithParam<LowerDevice> {
 protected:
  void SetUp() override {
    if (GetParam().name == "cuda" && !why_no_gpu().empty()) GTEST_SKIP() << why_no_gpu();
  }

  // The graph as graph_of() takes it. Runs twice, so that a cached preparation is used too.
  void check(const std::string& text, const std::vector<Tensor>& inputs, const LowerOptions& options = {}) {
    SCOPED_TRACE(text);
    const std::unique_ptr<Graph> graph = graph_of(text);
    std::vector<RefValue> values(inputs.begin(), inputs.end());
    const std::vector<RefValue> expected = evaluate(*graph, values);
    for (const int threads : GetParam().thread_counts()) {
      LoweredGraph lowered(*graph, GetParam(), threads, options.legalize);
      for (const ProgramStep& step : lowered.program().steps)
        EXPECT_TRUE(!step.fallback || op_name(step.node->op()) == options.falls_back)
            << op_name(step.node->op()) << " falls back: " << step.reason;
      for (int run = 0; run < 2; ++run) {
        const std::vector<Tensor> actual = lowered.run(inputs);
        ASSERT_EQ(actual.size(), expected.size());
        for (size_t o = 0; o < actual.size(); ++o) {
          SCOPED_TRACE("output " + std::to_string(o) + ", threads " + std::to_string(threads));
          expect_close(actual[o], std::get<Tensor>(expected[o]), options.tolerance);
        }
      }
    }
  }
  // Data movement: every bit must arrive.
  void check_exact(const std::string& text, const std::vector<Tensor>& inputs) { check(text, inputs, {0, true, {}}); }
};

}  // namespace lathe::cpu
