// Products of bytes. gemm_int8 takes constant weights packed ahead; gemm_int8_batched packs its right-hand side when it
// runs, a matrix at a time.
#include "backends/cpu/lower/matmul_int8.h"

#include "backends/cpu/packing.h"

namespace lathe::cpu {

Int8Finisher::Int8Finisher(const MapProgram& program, const std::function<Extent(int)>& extent_of,
                           const MapKernels& kernels)
    : form_(Int8EpilogueCode::make(program, extent_of, kernels)) {
  if (form_ == nullptr) program_ = std::make_unique<MapCode>(program, kernels);
}

std::string Int8Finisher::why_not(const MapProgram& program, const MapKernels& kernels) {
  if (program.num_inputs() > static_cast<int>(kMaxMapInputs)) return "too many inputs";
  return program.empty() ? std::string() : MapCode::why_unsupported(program, kernels);
}

Int8Finisher::State Int8Finisher::prepare(const StepIo& io, int64_t rows, int64_t columns) const {
  State state;
  if (form_ != nullptr) {
    state.form = form_->prepare(io, rows, columns);
    return state;
  }
  std::vector<std::span<const int64_t>> dims = {io.outputs[0].dims};
  for (size_t i = 2; i < io.inputs.size(); ++i) dims.push_back(io.inputs[i].dims);
  state.plan = std::make_unique<MapPlan>(*program_, dims, io.outputs[0].dims, *io.symbols);
  return state;
}

Int8Finisher::Memory Int8Finisher::cut(Workspace& workspace, const StepIo& io, int64_t rows, int64_t columns) const {
  Memory memory;
  if (form_ != nullptr) {
    memory.form = form_->cut(workspace, rows, columns);
  } else {
    memory.sums = workspace.take(static_cast<size_t>(rows * columns) * sizeof(int32_t));
    memory.scratch = workspace.take(static_cast<size_t>(io.threads) * program_->scratch_bytes());
  }
  return memory;
}

Int8Epilogue Int8Finisher::begin(const StepIo& io, const State& state, const Memory& memory, int64_t rows,
                                 int64_t columns) const {
  Int8Epilogue epilogue;
  if (form_ != nullptr) epilogue = form_->evaluate(io, state.form, memory.form, rows, columns);
  epilogue.c = form_ != nullptr ? io.outputs[0].data : memory.sums;
  return epilogue;
}

void Int8Finisher::end(const StepIo& io, const State& state, const Memory& memory, ThreadTeam& team) const {
  if (form_ != nullptr) return;
  const void* inputs[kMaxMapInputs] = {memory.sums};
  for (size_t i = 2; i < io.inputs.size(); ++i) inputs[i - 1] = io.inputs[i].data;
  state.plan->run(team, {inputs, io.inputs.size() - 1}, io.outputs[0].data, memory.scratch);
}

namespace {

// How operands of the epilogue lie over the product [.., rows, columns], whose leading axes count as rows.
Extent extent_over(const Shape& extra, const Shape& out) {
  if (product(extra) == Dim(1)) return Extent::scalar;
  if (is_row(extra, std::span(out).last(1))) return Extent::column;
  if (extra == out) return Extent::tensor;
  const bool per_row =
      extra.size() == out.size() && extra.back() == Dim(1) && std::equal(extra.begin(), extra.end() - 1, out.begin());
  return per_row ? Extent::row : Extent::unknown;
}

std::function<Extent(int)> extents_of(const Node& node) {
  return
      [&node](int i) { return extent_over(node.input(static_cast<size_t>(i) + 1)->shape(), node.output()->shape()); };
}

struct ProductState : StepState {
  Int8Finisher::State epilogue;
};

class GemmInt8Step : public Step {
 public:
  GemmInt8Step(const MatMul& op, const Node& node, const Target& target)
      : kernels_(target.kernels.int8),
        tiles_(target.int8_tiles),
        a_signed_(node.input(0)->dtype() == DType::i8),
        b_signed_(node.input(1)->dtype() == DType::i8),
        finisher_(op.epilogue, extents_of(node), target.kernels.map) {}

  size_t workspace_bytes(const StepIo& io) const override {
    Workspace workspace;
    finisher_.cut(workspace, io, rows(io), columns(io));
    workspace.take(gemm_int8_workspace_bytes(product(io)));
    return workspace.used();
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<ProductState>();
    state->epilogue = finisher_.prepare(io, rows(io), columns(io));
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void* memory, DeviceContext& device) const override {
    if (io.outputs[0].elements() == 0) return;
    const auto& state = static_cast<const ProductState*>(prepared)->epilogue;
    Workspace workspace(memory);
    const Int8Finisher::Memory parts = finisher_.cut(workspace, io, rows(io), columns(io));
    GemmInt8 gemm = product(io);
    gemm.epilogue = finisher_.begin(io, state, parts, rows(io), columns(io));
    gemm_int8(team_of(device), kernels_, gemm, workspace.take(gemm_int8_workspace_bytes(gemm)));
    finisher_.end(io, state, parts, team_of(device));
  }

 private:
  static int64_t columns(const StepIo& io) { return io.outputs[0].dims.back(); }
  static int64_t rows(const StepIo& io) { return io.outputs[0].elements() / std::max<int64_t>(columns(io), 1); }
  GemmInt8 product(const StepIo& io) const {
    const TensorRef& a = io.inputs[0];
    return {rows(io), columns(io), a.dims.back(), a.data, a_signed_, b_signed_, io.inputs[1].as<int8_t>(), {}, tiles_};
  }

  const Int8Kernels& kernels_;
  const AmxInt8Kernels* tiles_;
  bool a_signed_, b_signed_;
  Int8Finisher finisher_;
};

// Where each product of a batch finds its operands, in bytes; results lie one after the other.
struct BatchedState : StepState {
  Int8Finisher::State epilogue;
  std::vector<int64_t> a_offsets, b_offsets;
};

class BatchedGemmInt8Step : public Step {
 public:
  BatchedGemmInt8Step(const MatMul& op, const Node& node, const Target& target)
      : kernels_(target.kernels.int8),
        tiles_(target.int8_tiles),
        trans_b_(op.trans_b),
        a_signed_(node.input(0)->dtype() == DType::i8),
        b_signed_(node.input(1)->dtype() == DType::i8),
        finisher_(op.epilogue, extents_of(node), target.kernels.map) {}

  size_t workspace_bytes(const StepIo& io) const override {
    Workspace workspace;
    const Sizes s = sizes(io);
    finisher_.cut(workspace, io, s.batches * s.m, s.n);
    workspace.take(per_thread_bytes(s) * static_cast<size_t>(io.threads));
    return workspace.used();
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    const Sizes s = sizes(io);
    auto state = std::make_unique<BatchedState>();
    state->epilogue = finisher_.prepare(io, s.batches * s.m, s.n);
    state->a_offsets = offsets(io.inputs[0].dims, io.outputs[0].dims, s.m * s.k);
    state->b_offsets = offsets(io.inputs[1].dims, io.outputs[0].dims, s.k * s.n);
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void* memory, DeviceContext& device) const override {
    if (io.outputs[0].elements() == 0) return;
    const auto& state = *static_cast<const BatchedState*>(prepared);
    const Sizes s = sizes(io);
    Workspace workspace(memory);
    const Int8Finisher::Memory parts = finisher_.cut(workspace, io, s.batches * s.m, s.n);
    std::byte* scratch = workspace.take(per_thread_bytes(s) * static_cast<size_t>(io.threads));
    const Int8Epilogue epilogue = finisher_.begin(io, state.epilogue, parts, s.batches * s.m, s.n);
    const auto* a = io.inputs[0].as<const uint8_t>();
    const auto* b = io.inputs[1].as<const uint8_t>();
    team_of(device).parallel_for(s.batches, [&](int64_t begin, int64_t end, int thread) {
      std::byte* mine = scratch + per_thread_bytes(s) * static_cast<size_t>(thread);
      for (int64_t i = begin; i < end; ++i) {
        const auto at = static_cast<size_t>(i);
        multiply(s, a + state.a_offsets[at], b + state.b_offsets[at], epilogue, i * s.m, mine);
      }
    });
    finisher_.end(io, state.epilogue, parts, team_of(device));
  }

 private:
  struct Sizes {
    int64_t batches, m, n, k;
  };
  static Sizes sizes(const StepIo& io) {
    const auto& c = io.outputs[0].dims;
    const int64_t m = c[c.size() - 2], n = c.back();
    return {io.outputs[0].elements() / std::max<int64_t>(m * n, 1), m, n, io.inputs[0].dims.back()};
  }

  static std::vector<int64_t> offsets(std::span<const int64_t> operand, std::span<const int64_t> out, int64_t matrix) {
    const auto leading = out.first(out.size() - 2);
    const std::vector<int64_t> strides = broadcast_strides(operand.first(operand.size() - 2), leading);
    std::vector<int64_t> result = {0};
    for (size_t axis = 0; axis < leading.size(); ++axis) {
      std::vector<int64_t> finer;
      for (const int64_t base : result)
        for (int64_t i = 0; i < leading[axis]; ++i) finer.push_back(base + i * strides[axis] * matrix);
      result = std::move(finer);
    }
    return result;
  }

  GemmInt8 product(const Sizes& s) const { return {s.m, s.n, s.k, nullptr, a_signed_, b_signed_, nullptr, {}, tiles_}; }
  size_t packed_bytes(const Sizes& s) const {
    return (static_cast<size_t>(int8_packed_bytes(kernels_.nr, s.k, s.n)) + 63) / 64 * 64;
  }
  size_t per_thread_bytes(const Sizes& s) const { return packed_bytes(s) + gemm_int8_workspace_bytes(product(s)); }

  // One product by the calling thread. `first_row` is its place in the result.
  void multiply(const Sizes& s, const uint8_t* a, const uint8_t* b, const Int8Epilogue& epilogue, int64_t first_row,
                std::byte* scratch) const {
    auto* packed = reinterpret_cast<int8_t*>(scratch);
    int8_pack(kernels_.nr, {b, b_signed_, trans_b_ ? 1 : s.n, trans_b_ ? s.k : 1}, s.k, s.n, packed);
    GemmInt8 gemm = product(s);
    gemm.a = a;
    gemm.packed_b = packed;
    gemm.epilogue = from_row(epilogue, first_row, s.n);
    gemm_int8_serial(kernels_, gemm, scratch + packed_bytes(s));
  }

  const Int8Kernels& kernels_;
  const AmxInt8Kernels* tiles_;
  bool trans_b_, a_signed_, b_signed_;
  Int8Finisher finisher_;
};

std::string why_not_packed(const Node& node) {
  if (!is_constant(node.input(1))) return "the right-hand side is not constant";
  return node.input(1)->type().rank() != 2 ? "the right-hand side has batch axes" : "";
}

}  // namespace

Candidates lower_int8(const lathe::MatMul& op, const Node& node, const Target& target) {
  std::string why = Int8Finisher::why_not(op.epilogue, target.kernels.map);
  if (why.empty() && op.trans_a) why = "the left-hand side is transposed";
  if (!why.empty()) return {decline("gemm_int8", why)};
  if (why = why_not_packed(node); why.empty()) {
    return {accept("gemm_int8", [&op, &node, target] {
      return Lowered{std::make_unique<GemmInt8Step>(op, node, target),
                     {{}, gemm_int8_panels(target.kernels.int8.nr, op.trans_b)}};
    })};
  }
  return {decline("gemm_int8", why), accept("gemm_int8_batched", [&op, &node, target] {
            return plain_step<BatchedGemmInt8Step>(op, node, target);
          })};
}

}  // namespace lathe::cpu
