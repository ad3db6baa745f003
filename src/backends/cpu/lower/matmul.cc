// Matrix products. For a constant right-hand side, packed at build time, all leading axes of the left-hand side are
// flattened into rows: gemm, and gemm_narrow for few columns. For two activations there is gemm_batched, with numpy
// broadcasting of the batch axes.
#include "backends/cpu/kernels/gemm.h"

#include "backends/cpu/kernels/gemm_bf16.h"
#include "backends/cpu/kernels/gemm_narrow.h"

#include "backends/cpu/lower/lower.h"
#include "backends/cpu/lower/matmul_int8.h"
#include "backends/cpu/lower/product_epilogue.h"
#include "backends/cpu/packing.h"
#include "base/error.h"

namespace lathe::cpu {
namespace {

// The leading axes of the left-hand side as rows.
Gemm product_of(const StepIo& io, const ProductEpilogue& epilogue, bool uniform = false) {
  const TensorRef &a = io.inputs[0], &b = io.inputs[1];
  const int64_t k = a.dims.back(), n = io.outputs[0].dims.back();
  const PanelType panels = b.dtype == DType::f16    ? PanelType::f16
                           : b.dtype == DType::bf16 ? PanelType::bf16
                                                    : PanelType::f32;
  return {io.outputs[0].elements() / std::max<int64_t>(n, 1),
          n,
          k,
          a.as<float>(),
          k,
          b.data,
          epilogue.kernel_form(io, n),
          panels,
          uniform};
}

class GemmStep : public Step {
 public:
  GemmStep(const MatMul& op, const Node& node, const Target& target, bool narrow)
      : kernels_(target.kernels),
        narrow_(narrow),
        uniform_(target.uniform),
        epilogue_(op.epilogue, node, 2, target.kernels.map) {}

  // The product is done with its part when the epilogue's program runs.
  size_t workspace_bytes(const StepIo& io) const override {
    const int64_t floats = narrow_ ? 0 : gemm_workspace_floats(kernels_, product_of(io, epilogue_), io.threads);
    return std::max(static_cast<size_t>(floats) * sizeof(float), epilogue_.workspace_bytes(io));
  }
  std::unique_ptr<StepState> prepare(const StepIo& io) const override { return epilogue_.prepare(io); }

  void run(const StepIo& io, const StepState* state, void* workspace, DeviceContext& device) const override {
    if (narrow_)
      gemm_narrow(team_of(device), kernels_, product_of(io, epilogue_));
    else
      gemm(team_of(device), kernels_, product_of(io, epilogue_, uniform_), static_cast<float*>(workspace));
    epilogue_.apply(io, state, workspace, team_of(device));
  }

 private:
  const KernelTable& kernels_;
  bool narrow_, uniform_;
  ProductEpilogue epilogue_;
};

// As GemmStep, the activations rounded to bf16.
class GemmBf16Step : public Step {
 public:
  GemmBf16Step(const MatMul& op, const Node& node, const KernelTable& kernels, const GemmBf16Kernels& unit)
      : kernels_(kernels), unit_(unit), epilogue_(op.epilogue, node, 2, kernels.map) {}

  size_t workspace_bytes(const StepIo& io) const override {
    const Gemm product = product_of(io, epilogue_);
    const auto rounded = static_cast<size_t>(gemm_bf16_workspace_bytes(unit_, product.m, product.k));
    return std::max(rounded, epilogue_.workspace_bytes(io));
  }
  std::unique_ptr<StepState> prepare(const StepIo& io) const override { return epilogue_.prepare(io); }

  void run(const StepIo& io, const StepState* state, void* workspace, DeviceContext& device) const override {
    gemm_bf16(team_of(device), kernels_, unit_, product_of(io, epilogue_), workspace);
    epilogue_.apply(io, state, workspace, team_of(device));
  }

 private:
  const KernelTable& kernels_;
  const GemmBf16Kernels& unit_;
  ProductEpilogue epilogue_;
};

// Sizes and strides of a batched product, batch axes folded into at most two levels.
struct BatchedState : StepState {
  Matmul product{};
  int64_t repeats = 1;                        // products of the axes outside those two levels
  std::vector<int64_t> a_offsets, b_offsets;  // per repeat
  bool copy_a = false;                        // a is stored [k, m] and must be transposed first
  int64_t a_matrices = 1, a_rows = 0;         // matrices of a and the rows of each, before folding
  size_t workspace_floats = 0;
  std::unique_ptr<StepState> epilogue;
};

class BatchedGemmStep : public Step {
 public:
  BatchedGemmStep(const MatMul& op, const Node& node, const Target& target)
      : op_(op),
        kernels_(target.kernels.gemm),
        uniform_(target.uniform),
        epilogue_(op.epilogue, node, 2, target.kernels.map) {}

  size_t workspace_bytes(const StepIo& io) const override {
    const BatchedState state = plan(io);
    return (state.workspace_floats + transposed_floats(io, state)) * sizeof(float) + epilogue_.workspace_bytes(io);
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<BatchedState>(plan(io));
    state->epilogue = epilogue_.prepare(io);
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void* workspace, DeviceContext& device) const override {
    const auto& state = *static_cast<const BatchedState*>(prepared);
    ThreadTeam& team = team_of(device);
    auto* floats = static_cast<float*>(workspace);
    Matmul product = state.product;
    const float* a = io.inputs[0].as<float>();
    if (state.copy_a) {
      transpose_matrices(team, a, state, floats);
      a = floats;
      floats += transposed_floats(io, state);
    }
    const int64_t per_repeat = product.outer.count * product.inner.count * product.m * product.n;
    for (int64_t r = 0; r < state.repeats; ++r) {
      product.a = a + state.a_offsets[static_cast<size_t>(r)];
      product.b = io.inputs[1].as<float>() + state.b_offsets[static_cast<size_t>(r)];
      product.epilogue = epilogue_.kernel_form(io, product.n);
      product.epilogue.c += r * per_repeat;
      if (product.epilogue.residual != nullptr) product.epilogue.residual += r * per_repeat;
      matmul(team, kernels_, product, floats);
    }
    epilogue_.apply(io, state.epilogue.get(), floats + state.workspace_floats, team);
  }

 private:
  static size_t transposed_floats(const StepIo& io, const BatchedState& state) {
    return state.copy_a ? static_cast<size_t>(io.inputs[0].elements()) : 0;
  }

  static void transpose_matrices(ThreadTeam& team, const float* a, const BatchedState& state, float* out) {
    const int64_t m = state.a_rows, k = state.product.k;
    team.parallel_for(state.a_matrices * m, [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        const float* source = a + row / m * m * k + row % m;
        for (int64_t i = 0; i < k; ++i) out[row * k + i] = source[i * m];
      }
    });
  }

  // One batch axis of the result: how far each operand moves along it (0: broadcast).
  struct Level {
    int64_t count, a, b;
  };

  std::vector<Level> batch_levels(const StepIo& io, int64_t a_matrix, int64_t b_matrix) const {
    const auto& a = io.inputs[0].dims;
    const auto& b = io.inputs[1].dims;
    const auto& c = io.outputs[0].dims;
    std::vector<Level> levels;  // innermost first
    int64_t a_stride = a_matrix, b_stride = b_matrix;
    for (size_t back = 3; back <= c.size(); ++back) {
      const int64_t count = c[c.size() - back];
      const int64_t a_count = back <= a.size() ? a[a.size() - back] : 1,
                    b_count = back <= b.size() ? b[b.size() - back] : 1;
      const Level level{count, a_count == 1 ? 0 : a_stride, b_count == 1 ? 0 : b_stride};
      a_stride *= a_count;
      b_stride *= b_count;
      if (count == 1) continue;
      if (!levels.empty() && level.a == levels.back().a * levels.back().count &&
          level.b == levels.back().b * levels.back().count)
        levels.back().count *= count;
      else
        levels.push_back(level);
    }
    return levels;
  }

  BatchedState plan(const StepIo& io) const {
    const auto& a = io.inputs[0].dims;
    const auto& b = io.inputs[1].dims;
    const auto& c = io.outputs[0].dims;
    BatchedState state;
    Matmul& p = state.product;
    p.m = c[c.size() - 2];
    p.n = c[c.size() - 1];
    p.k = a[a.size() - (op_.trans_a ? 2 : 1)];
    p.lda = p.k;
    state.copy_a = op_.trans_a;
    const int64_t ldb = b[b.size() - 1];
    p.stride_k = op_.trans_b ? 1 : ldb;
    p.stride_n = op_.trans_b ? ldb : 1;
    state.a_rows = p.m;
    state.a_matrices = io.inputs[0].elements() / std::max<int64_t>(p.m * p.k, 1);
    std::vector<Level> levels = batch_levels(io, p.m * p.k, p.k * p.n);
    // Rows of consecutive products that share b are rows of one product.
    if (levels.size() == 1 && levels[0].b == 0 && levels[0].a == p.m * p.k) {
      p.m *= levels[0].count;
      levels.clear();
    }
    const int64_t matrix = p.m * p.n;
    if (!levels.empty()) p.inner = {levels[0].count, levels[0].a, levels[0].b, matrix, matrix};
    if (levels.size() > 1)
      p.outer = {levels[1].count, levels[1].a, levels[1].b, matrix * p.inner.count, matrix * p.inner.count};
    state.a_offsets = state.b_offsets = {0};
    for (size_t i = 2; i < levels.size(); ++i) expand(state, levels[i]);
    p.epilogue.ldc = p.n;
    p.uniform = uniform_;
    state.workspace_floats = static_cast<size_t>(matmul_workspace_floats(kernels_, p, io.threads));
    return state;
  }

  static void expand(BatchedState& state, const Level& level) {
    std::vector<int64_t> a, b;
    for (int64_t i = 0; i < level.count; ++i) {
      for (size_t r = 0; r < state.a_offsets.size(); ++r) {
        a.push_back(state.a_offsets[r] + i * level.a);
        b.push_back(state.b_offsets[r] + i * level.b);
      }
    }
    state.a_offsets = std::move(a);
    state.b_offsets = std::move(b);
    state.repeats *= level.count;
  }

  MatMul op_;
  const GemmKernels& kernels_;
  bool uniform_;
  ProductEpilogue epilogue_;
};

// Extras of the epilogue may be of any type that its program takes.
std::string not_f32_product(const Node& node) {
  for (const Value* value : {node.input(0), node.input(1), node.output()})
    if (value->dtype() != DType::f32 && !(value == node.input(1) && is_half(value->dtype())))
      return "computes in f32 only, not " + to_string(value->type());
  return {};
}

std::string why_not_gemm(const MatMul& op, const Node& node) {
  if (!is_constant(node.input(1))) return "the right-hand side is not constant";
  if (node.input(1)->type().rank() != 2) return "the right-hand side has batch axes";
  return op.trans_a ? "the left-hand side is transposed" : "";
}

Candidate gemm_bf16_candidate(const MatMul& op, const Node& node, const Target& target) {
  if (target.uniform) return decline("gemm_bf16", "how it sums depends on the rows");
  if (target.bf16 == nullptr) return decline("gemm_bf16", "this machine multiplies f32 as fast as bf16");
  return accept("gemm_bf16", [&op, &node, target] {
    return Lowered{std::make_unique<GemmBf16Step>(op, node, target.kernels, *target.bf16),
                   {{}, gemm_panels(DType::bf16, target.kernels.gemm.nr, op.trans_b)}};
  });
}

bool is_narrow(const MatMul& op, const Node& node) {
  const Shape& b = node.input(1)->shape();
  const Dim &k = b[op.trans_b ? 1 : 0], &n = b[op.trans_b ? 0 : 1];
  return n.is_constant() && n.value() <= kNarrowColumns && k.is_constant() && k.value() >= kNarrowDepth;
}

}  // namespace

Candidates lower(const lathe::MatMul& op, const Node& node, const Target& target) {
  if (multiplies_bytes(node)) return lower_int8(op, node, target);
  std::string why = not_f32_product(node);
  if (why.empty() && !op.epilogue.empty()) why = MapCode::why_unsupported(op.epilogue, target.kernels.map);
  if (!why.empty()) return {decline("gemm", why)};
  Candidates candidates;
  const KernelTable& kernels = target.kernels;
  if (why = why_not_gemm(op, node); why.empty()) {
    const auto with_panels = [&op, &node, target](bool narrow, int columns) {
      return Lowered{std::make_unique<GemmStep>(op, node, target, narrow),
                     {{}, gemm_panels(node.input(1)->dtype(), columns, op.trans_b)}};
    };
    if (is_narrow(op, node) && !target.uniform)
      candidates.push_back(accept("gemm_narrow", [=] { return with_panels(true, 1); }));
    if (node.input(1)->dtype() == DType::bf16) candidates.push_back(gemm_bf16_candidate(op, node, target));
    candidates.push_back(accept("gemm", [=, &kernels] { return with_panels(false, kernels.gemm.nr); }));
  } else {
    candidates.push_back(decline("gemm", why));
  }
  if (is_half(node.input(1)->dtype())) {
    candidates.push_back(decline("gemm_batched", "the right-hand side is stored in 16 bits"));
  } else {
    candidates.push_back(accept("gemm_batched", [&op, &node, target] {
      return Lowered{std::make_unique<BatchedGemmStep>(op, node, target), {}};
    }));
  }
  return candidates;
}

}  // namespace lathe::cpu
