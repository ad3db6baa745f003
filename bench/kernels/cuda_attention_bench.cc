// Attention on a GPU: one line of JSON per problem, with the time of a launch among many that are replayed as one CUDA
// graph. Compare with compare_attention_torch.py, which gives the problems as arguments:
//   cuda_attention_bench BATCHxHEADSxTOKENSxDIM[:kv=N][:causal][:mask=FRACTION][:TYPE] ..
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "backends/cuda/cuda_backend.h"
#include "graph/text.h"

namespace lathe {
namespace {

constexpr int kReplays = 15;

// As many launches as take a few milliseconds, so that the chip does not slow down for the heat of a long burst.
int launches_of(double flops) { return flops > 5e10 ? 5 : 20; }

struct Problem {
  int64_t batch = 1, heads = 1, kv_heads = 1, tokens = 1, dim = 64;
  bool causal = false;
  std::optional<double> seen;  // with a mask: this fraction of the keys
  std::string type = "f16";

  double flops() const { return 4.0 * batch * heads * tokens * tokens * dim * (causal ? 0.5 : 1); }
};

Problem parse(const std::string& text) {
  Problem p;
  std::istringstream parts(text);
  std::string part;
  std::getline(parts, part, ':');
  char x = 0;
  std::istringstream(part) >> p.batch >> x >> p.heads >> x >> p.tokens >> x >> p.dim;
  p.kv_heads = p.heads;
  while (std::getline(parts, part, ':')) {
    if (part == "causal")
      p.causal = true;
    else if (part.rfind("kv=", 0) == 0)
      p.kv_heads = std::stoll(part.substr(3));
    else if (part.rfind("mask=", 0) == 0)
      p.seen = std::stod(part.substr(5));
    else
      p.type = part;
  }
  return p;
}

// Query, key and value side by side, as a fused product leaves them.
std::unique_ptr<Graph> graph_of(const Problem& p) {
  const int64_t columns = (p.heads + 2 * p.kv_heads) * p.dim;
  const std::string mask = p.seen ? ", %m: i64[b, 1, 1, s]" : "";
  std::string fields = fmt::format(
      "heads = {}, kv_heads = {}, head_dim = {}, value_dim = {}, scale = {}, q_stride = {}, k_offset = {}, k_stride = "
      "{}, v_offset = {}, v_stride = {}",
      p.heads, p.kv_heads, p.dim, p.dim, 1 / std::sqrt(double(p.dim)), p.dim, p.heads * p.dim, p.dim,
      (p.heads + p.kv_heads) * p.dim, p.dim);
  if (p.causal) fields += ", causal = true, causal_offset = 0";
  if (p.seen) fields += fmt::format(", score = (x0, x1) => select(ne(x1, 0:i64), x0, -inf:{})", p.type);
  return parse_graph(
      fmt::format("graph bench(%x: {}[b, s, {}]{}) {{ %y = attention(%x, %x, %x{}) {{{}}} return %y as \"y\" }}",
                  p.type, columns, mask, p.seen ? ", %m" : "", fields));
}

std::vector<std::byte> input_bytes(const Problem& p, int64_t elements) {
  const DType type = *dtype_from_string(p.type);
  Tensor values(type, {elements});
  uint32_t random = 1;
  for (int64_t i = 0; i < elements; ++i) {
    random = random * 1664525u + 1013904223u;
    values.write_double(i, (random >> 8) / 8388608.0 - 1);
  }
  return {values.bytes().begin(), values.bytes().end()};
}

class Bench {
 public:
  Bench() : backend_(cuda::make_cuda_backend({})), context_(backend_->make_context({})) {}

  double microseconds(const Problem& p) {
    const std::unique_ptr<Graph> graph = graph_of(p);
    const Node* node = graph->outputs()[0]->producer();
    const std::vector<Candidate> candidates = backend_->candidates(*node);
    const Lowered lowered = candidates.at(0).make();
    backend_->finish_lowering();

    const int64_t columns = (p.heads + 2 * p.kv_heads) * p.dim, rows = p.batch * p.tokens;
    const std::vector<int64_t> x_dims = {p.batch, p.tokens, columns}, m_dims = {p.batch, 1, 1, p.tokens},
                               y_dims = {p.batch, p.tokens, p.heads * p.dim};
    const DType type = *dtype_from_string(p.type);
    const size_t bytes = static_cast<size_t>(bit_width(type)) / 8;
    void* x = context_->allocate(static_cast<size_t>(rows * columns) * bytes);
    void* y = context_->allocate(static_cast<size_t>(rows * p.heads * p.dim) * bytes);
    void* m = context_->allocate(static_cast<size_t>(rows) * sizeof(int64_t));
    context_->upload(x, input_bytes(p, rows * columns));
    std::vector<int64_t> mask(static_cast<size_t>(rows));
    for (int64_t i = 0; i < rows; ++i)
      mask[static_cast<size_t>(i)] = i % p.tokens < p.seen.value_or(1) * static_cast<double>(p.tokens) ? 1 : 0;
    context_->upload(m, std::as_bytes(std::span(mask)));
    std::vector<TensorRef> inputs(3, TensorRef{x, type, x_dims, true, nullptr});
    if (p.seen) inputs.push_back({m, DType::i64, m_dims, true, nullptr});
    const std::vector<TensorRef> outputs = {{y, type, y_dims, true, nullptr}};
    const double time = time_of(*lowered.step, {inputs, outputs, &symbols_, 1, nullptr}, launches_of(p.flops()));
    for (void* memory : {x, y, m}) context_->release(memory);
    return time;
  }

 private:
  double time_of(const Step& step, const StepIo& io, int launches) {
    const std::unique_ptr<StepState> state = step.prepare(io);
    void* workspace = context_->allocate(std::max<size_t>(step.workspace_bytes(io), 1));
    step.run(io, state.get(), workspace, *context_);
    context_->synchronize();
    context_->begin_recording();
    for (int i = 0; i < launches; ++i) step.run(io, state.get(), workspace, *context_);
    const std::unique_ptr<Recording> recording = context_->end_recording();
    std::vector<double> times;
    for (int replay = 0; replay < kReplays; ++replay) {
      // Two in a row: the difference to one hides what starting and waiting cost.
      const auto run = [&](int count) {
        const auto start = std::chrono::steady_clock::now();
        for (int i = 0; i < count; ++i) context_->replay(*recording);
        context_->synchronize();
        return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
      };
      const double one = run(1);
      times.push_back((run(3) - one) / (2 * launches));
    }
    context_->release(workspace);
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<DeviceContext> context_;
  SymbolBindings symbols_;
};

}  // namespace
}  // namespace lathe

int main(int argc, char** argv) {
  using namespace lathe;
  Bench bench;
  for (int i = 1; i < argc; ++i) {
    const Problem problem = parse(argv[i]);
    const double time = bench.microseconds(problem);
    fmt::print("{{\"problem\": \"{}\", \"us\": {:.2f}, \"tflops\": {:.1f}}}\n", argv[i], time,
               problem.flops() / time * 1e-6);
  }
}
