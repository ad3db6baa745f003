// Matrix products. Few rows may go to kernels that read weights at the bandwidth of memory; everything else in f32,
// f64, f16 and bf16 to cuBLASLt, whose further algorithms are candidates of their own; integers, and floats without
// cuBLASLt, to Lathe's kernels, those for tensor cores among them. On Hopper those are candidates for halves. Bytes go
// to tensor cores wherever their weights lie, or can be kept, along the terms. Epilogues are computed while storing
// where the kernel can, else by a map in place.
#include <algorithm>

#include "backends/cuda/lower/gemm_few.h"
#include "backends/cuda/lower/gemm_kernels.h"
#include "backends/cuda/lower/gemm_lt.h"
#include "backends/cuda/lower/gemm_sm90.h"
#include "backends/cuda/program_code.h"
#include "backends/cuda/weight_packing.h"
#include "graph/constant.h"

namespace lathe::cuda {
namespace {

constexpr int kLtChoices = 4;  // of the heuristic's algorithms, to be timed
constexpr size_t kAlignment = 256, kFirstExtra = 2;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// What a candidate may use.
struct Route {
  int64_t skinny_rows = 0;  // the most that go to the kernel for few rows of any floats
  bool few = false;         // few rows of halves go to the kernel for them
  bool lt = false, mma = false, tile = false;
  int lt_choice = 0;
  const Sm90Variant* sm90 = nullptr;
  bool transposed_weights = false;  // the second operand is packed that way
};

enum class Engine { none, few, skinny, lt, sm90, mma, tile };

struct MatmulState : StepState {
  explicit MatmulState(MatmulSizes matmul_sizes) : sizes(std::move(matmul_sizes)) {}
  MatmulSizes sizes;
  Engine engine = Engine::none;
  MatmulArgs args{};
  std::unique_ptr<LtPlan> lt;
  std::unique_ptr<TileGemm> late_tile;  // for sizes that the others decline
  int splits = 1;
  std::optional<ProgramMap::Plan> map;
  size_t product_bytes = 0;  // of the stored product that the map reads, where it has a place of its own
};

// The rows of the result when they are known while lowering.
std::optional<int64_t> known_rows(const Node& node) {
  const Shape& shape = node.output()->shape();
  const Dim rows = product({shape.begin(), shape.end() - 1});
  return rows.is_constant() ? std::optional(rows.value()) : std::nullopt;
}

Epilogue epilogue_of(const MatMul& op, const Node& node) {
  return Epilogue(op.epilogue, *product_type(node.input(0)->dtype(), node.input(1)->dtype()), node,
                  {0, node.output()->shape().size() - 1});
}

GemmTypes types_of(const MatMul& op, const Node& node, const Epilogue& epilogue, bool transposed_weights) {
  return {.a = node.input(0)->dtype(),
          .b = node.input(1)->dtype(),
          .product = epilogue.product(),
          .output = epilogue.kernel_output(),
          .trans_a = op.trans_a,
          .trans_b = op.trans_b || transposed_weights,
          .epilogue = epilogue.kernel_code(),
          .extras = epilogue.extra_masks()};
}

class MatmulStep : public Step {
 public:
  MatmulStep(const MatMul& op, const Node& node, const Target& target, Route route)
      : target_(target),
        route_(route),
        epilogue_(epilogue_of(op, node)),
        types_(types_of(op, node, epilogue_, route.transposed_weights)),
        constant_b_(is_constant(node.input(1))),
        open_rows_(!known_rows(node)) {
    if (route_.lt) lt_form_ = match_lt_epilogue(epilogue_);
    if (route_.few) {
      const Shape& weights = node.input(1)->shape();
      FewWeights few{types_.b};
      look_around(few, node);
      few_.emplace(types_, few, weights[0].value(), weights[1].value(), known_rows(node), node, kFirstExtra, target);
    }
    if (route_.skinny_rows > 0) skinny_.emplace(types_, route_.skinny_rows, known_rows(node), target);
    if (route_.sm90 != nullptr) sm90_.emplace(types_, *route_.sm90, target);
    if (route_.mma) mma_.emplace(types_, target);
    if (route_.tile) tile_.emplace(types_, target);
    if (!epilogue_.fusable() || (route_.lt && !lt_form_)) map_ = epilogue_.make_map(target);
  }

  size_t workspace_bytes(const StepIo& io) const override {
    const MatmulSizes sizes(io, types_.trans_a, types_.trans_b);
    const Engine engine = choose(io, sizes);
    const size_t product = needs_map(engine) ? aligned(epilogue_.product_bytes(io)) : 0;
    if (engine == Engine::lt) return product + kLtWorkspaceBytes;
    if (engine == Engine::mma) return product + mma_->workspace_bytes(sizes);
    if (engine == Engine::few) return product + few_->workspace_bytes(sizes);
    return product + (engine == Engine::skinny ? skinny_->workspace_bytes(sizes) : 0);
  }

  std::unique_ptr<StepState> prepare(const StepIo& io) const override {
    auto state = std::make_unique<MatmulState>(MatmulSizes(io, types_.trans_a, types_.trans_b));
    state->engine = choose(io, state->sizes);
    if (state->engine == Engine::none) return state;
    state->args = matmul_args(state->sizes, epilogue_.kernel_args(io));
    state->args.constant_b = constant_b_ ? 1 : 0;
    if (state->engine == Engine::lt) {
      state->lt = LtPlan::make(*target_.libraries.cublaslt(), lt_problem(state->sizes), lt_form_.value_or(LtEpilogue{}),
                               route_.lt_choice);
      if (state->lt == nullptr) state->engine = Engine::tile;
    }
    if (state->engine == Engine::tile && !tile_) {
      state->late_tile = std::make_unique<TileGemm>(types_, target_);
      target_.kernels.build();
    }
    if (state->engine == Engine::few) state->splits = few_->splits(state->sizes);
    if (state->engine == Engine::skinny) state->splits = skinny_->splits(state->sizes);
    if (state->engine == Engine::mma) state->splits = mma_->splits(state->sizes);
    if (needs_map(state->engine)) {
      state->map = epilogue_.plan_map(*map_, io);
      state->product_bytes = epilogue_.product_bytes(io);
    }
    return state;
  }

  void run(const StepIo& io, const StepState* prepared, void* workspace, DeviceContext& device) const override {
    const auto& state = *static_cast<const MatmulState*>(prepared);
    auto* scratch = static_cast<std::byte*>(workspace);
    auto* product = static_cast<std::byte*>(io.outputs[0].data);
    if (state.product_bytes != 0) {
      product = scratch;
      scratch += aligned(state.product_bytes);
    }
    if (state.engine == Engine::lt)
      run_lt(io, state, product, scratch, stream_of(device));
    else if (state.engine != Engine::none)
      run_own(io, state, product, scratch, static_cast<CudaContext&>(device));
    if (state.map) Epilogue::run_map(*map_, *state.map, product, io, stream_of(device));
  }

 private:
  Engine choose(const StepIo& io, const MatmulSizes& sizes) const {
    if (io.outputs[0].elements() == 0) return Engine::none;
    if (few_ && few_->fits(sizes)) return Engine::few;
    if (skinny_ && sizes.k > 0 && skinny_->fits(sizes)) return Engine::skinny;
    if (route_.lt && sizes.k > 0) return Engine::lt;
    if (sm90_ && sizes.k > 0 && sm90_->fits(sizes)) return Engine::sm90;
    if (mma_ && sizes.k > 0 && mma_->fits(sizes)) return Engine::mma;
    if (types_.a == DType::f8e4m3) fail(ErrorCode::unsupported, "a product of {} x {} is too large", sizes.m, sizes.n);
    return Engine::tile;
  }

  // Own kernels compute whatever is fusable; cuBLASLt what has its form.
  bool needs_map(Engine engine) const {
    if (engine == Engine::none || epilogue_.empty()) return false;
    return engine == Engine::lt ? !lt_form_ : !epilogue_.fusable();
  }

  LtProblem lt_problem(const MatmulSizes& sizes) const {
    LtProblem problem{types_.a,       sizes.m,       sizes.n,       sizes.k,      types_.trans_a,
                      types_.trans_b, sizes.batches, sizes.a_batch, sizes.b_batch};
    problem.tf32 = target_.tf32;
    if (open_rows_ && sizes.batches == 1) problem.like_m = nearest_power_of_two(sizes.m);
    const auto element = static_cast<size_t>(bit_width(types_.a) / 8);
    const auto lower_to = [&](int64_t offset) {
      while (static_cast<size_t>(offset) * element % problem.alignment != 0) problem.alignment /= 2;
    };
    std::for_each(sizes.a_offsets.begin(), sizes.a_offsets.end(), lower_to);
    std::for_each(sizes.b_offsets.begin(), sizes.b_offsets.end(), lower_to);
    if (sizes.repeats() > 1) lower_to(sizes.rows_per_repeat() * sizes.n);
    return problem;
  }

  const std::byte* operand(const TensorRef& ref, int64_t offset) const {
    return static_cast<const std::byte*>(ref.data) + offset * (bit_width(ref.dtype) / 8);
  }

  void run_lt(const StepIo& io, const MatmulState& state, std::byte* product, void* workspace, CUstream stream) const {
    const MatmulSizes& sizes = state.sizes;
    const auto extra = [&](int input) -> const std::byte* {
      return input < 0 ? nullptr : static_cast<const std::byte*>(io.inputs[static_cast<size_t>(input) + 1].data);
    };
    const std::byte *bias = lt_form_ ? extra(lt_form_->bias) : nullptr,
                    *residual = lt_form_ ? extra(lt_form_->residual) : nullptr;
    const int64_t step = sizes.rows_per_repeat() * sizes.n * (bit_width(types_.product) / 8);
    for (size_t r = 0; r < sizes.repeats(); ++r) {
      state.lt->run(operand(io.inputs[0], sizes.a_offsets[r]), operand(io.inputs[1], sizes.b_offsets[r]), bias,
                    residual, product, workspace, stream);
      product += step;
      if (residual != nullptr) residual += step;
    }
  }

  void run_own(const StepIo& io, const MatmulState& state, void* product, void* workspace, CudaContext& context) const {
    const MatmulSizes& sizes = state.sizes;
    MatmulArgs args = state.args;
    if (epilogue_.fusable()) Epilogue::set_addresses(args.epilogue, io);
    args.output = product;
    for (size_t r = 0; r < sizes.repeats(); ++r) {
      args.a = operand(io.inputs[0], sizes.a_offsets[r]);
      args.b = operand(io.inputs[1], sizes.b_offsets[r]);
      args.first_row = static_cast<int64_t>(r) * sizes.rows_per_repeat();
      if (state.engine == Engine::few)
        few_->run(args, nullptr, nullptr, state.splits, workspace, context);
      else if (state.engine == Engine::skinny)
        skinny_->run(args, state.splits, workspace, context.stream());
      else if (state.engine == Engine::sm90)
        sm90_->run(args, context.stream());
      else if (state.engine == Engine::mma)
        mma_->run(args, state.splits, workspace, context.stream());
      else
        (tile_ ? *tile_ : *state.late_tile).run(args, context.stream());
    }
  }

  const Target& target_;
  Route route_;
  Epilogue epilogue_;
  GemmTypes types_;
  bool constant_b_, open_rows_;
  std::optional<LtEpilogue> lt_form_;
  std::optional<FewRowsGemm> few_;
  std::optional<SkinnyGemm> skinny_;
  std::optional<Sm90Gemm> sm90_;
  std::optional<MmaGemm> mma_;
  std::optional<TileGemm> tile_;
  std::unique_ptr<ProgramMap> map_;
};

bool is_lt_type(DType type) {
  return type == DType::f32 || type == DType::f64 || type == DType::f16 || type == DType::bf16;
}

std::string why_not(const MatMul& op, const Node& node) {
  const DType a = node.input(0)->dtype(), b = node.input(1)->dtype();
  const auto product = product_type(a, b);
  if (!product || (cuda_type(a).empty() && a != DType::f8e4m3) || *product == DType::boolean)
    return fmt::format("CUDA kernels do not multiply {} and {}", to_string(a), to_string(b));
  return epilogue_of(op, node).why_not();
}

// How many rows may go to the kernel for few of them: `most`, or none where it is known that there are more.
int64_t skinny_rows(const GemmTypes& types, const Node& node, int64_t most) {
  if (!SkinnyGemm::knows(types)) return 0;
  const auto rows = known_rows(node);
  return !rows || *rows <= most ? most : 0;
}

// Whether a kernel takes the second operand, its lines along the terms, whatever the rows.
template <class Gemm>
bool suits(const GemmTypes& types, const Node& node, bool transposed) {
  const Shape& shape = node.input(1)->shape();
  Dim k = shape[shape.size() - 2], n = shape[shape.size() - 1];
  if (!transposed) std::swap(k, n);
  return k.is_constant() && n.is_constant() && k.value() > 0 && Gemm::takes_weights(types, n.value(), k.value());
}

bool is_constant_matrix(const Value* value) { return is_constant(value) && value->shape().size() == 2; }

class MatmulCandidates {
 public:
  MatmulCandidates(const MatMul& op, const Node& node, const Target& target)
      : op_(op), node_(node), target_(target), types_(types_of(op, node, epilogue_of(op, node), false)) {}

  Candidates all() {
    // cuBLASLt, and kernels for some sizes only, would let a row's bits depend on how many rows there are.
    const bool all_sizes = target_.uniform;
    const bool lt = !all_sizes && is_lt_type(types_.a) && target_.libraries.cublaslt() != nullptr;
    const bool half = types_.a == DType::f16 || types_.a == DType::bf16, few = !all_sizes && suits_few();
    const int64_t skinny = few || all_sizes ? 0 : skinny_rows(types_, node_, kSkinnyRows);
    const bool mma = half && MmaGemm::knows(types_, target_.device);
    if (!lt && !all_sizes) add_sm90();
    if (bit_width(types_.a) == 8) add_mma_of_bytes();
    if (!cuda_type(types_.a).empty())
      add("gemm", {.skinny_rows = lt ? 0 : skinny, .few = few, .lt = lt, .mma = mma && !lt, .tile = !mma && !lt});
    if (!lt) return std::move(candidates_);
    for (int choice = few ? 0 : 1; choice < kLtChoices; ++choice)
      add(fmt::format("gemm_lt_{}", choice), {.lt = true, .lt_choice = choice});
    // These compute any epilogue while they store.
    add_sm90();
    if (mma) add("gemm_mma", {.skinny_rows = skinny, .few = few, .mma = true});
    if (types_.a == DType::f32) add("gemm_tile", {.skinny_rows = skinny, .tile = true});
    return std::move(candidates_);
  }

 private:
  void add(std::string name, Route route) {
    candidates_.push_back(accept(std::move(name), [&op = op_, &node = node_, &target = target_, route] {
      Lowered lowered{std::make_unique<MatmulStep>(op, node, target, route), {}};
      if (route.transposed_weights) lowered.operand_layouts = {{}, transposed_weights()};
      return lowered;
    }));
  }

  void add_sm90() {
    Route route;
    if (!admit<Sm90Gemm>(route)) return;
    for (const Sm90Variant* variant : sm90_variants(known_rows(node_), types_.output)) {
      route.sm90 = variant;
      add(fmt::format("gemm_sm90_{}", variant->name), route);
    }
  }
  // Whether few rows of halves meet weights of known sizes that lie along the terms.
  bool suits_few() const {
    const Value& weights = *node_.input(1);
    const auto rows = known_rows(node_);
    if (!types_.trans_b || types_.trans_a || types_.a != types_.b || weights.shape().size() != 2) return false;
    const Dim &n = weights.shape()[0], &k = weights.shape()[1];
    return n.is_constant() && k.is_constant() && FewRowsGemm::knows(types_.a, {types_.b}, k.value()) &&
           (!rows || *rows <= FewRowsGemm::most_rows(types_.b));
  }

  void add_mma_of_bytes() {
    Route route{.mma = true};
    if (admit<MmaGemm>(route)) add("gemm_mma", route);
  }

  // Whether a kernel for tensor cores multiplies these. It needs bytes with their lines along the terms; constants can
  // be kept that way.
  template <class Gemm>
  bool admit(Route& route) const {
    GemmTypes types = types_;
    route.transposed_weights = bit_width(types.a) == 8 && !types.trans_b && is_constant_matrix(node_.input(1)) &&
                               suits<Gemm>(types, node_, true);
    types.trans_b |= route.transposed_weights;
    if (!Gemm::knows(types, target_.device)) return false;
    // Nothing else could take over where the sizes turn out not to suit.
    return types.a != DType::f8e4m3 || route.transposed_weights || suits<Gemm>(types, node_, false);
  }

  const MatMul& op_;
  const Node& node_;
  const Target& target_;
  GemmTypes types_;
  Candidates candidates_;
};

}  // namespace

Candidates lower(const lathe::MatMul& op, const Node& node, const Target& target) {
  if (std::string why = why_not(op, node); !why.empty()) return {decline("gemm", std::move(why))};
  Candidates all = MatmulCandidates(op, node, target).all();
  if (all.empty())
    return {decline("gemm", "floats of 8 bits are multiplied from sm_89 on, lines of 16 along the terms")};
  return all;
}

}  // namespace lathe::cuda
