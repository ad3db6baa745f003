// cuBLASLt's matrices are column-major: what is row-major here is transposed there, so the product is asked for as
// y^T = w^T a^T, its first operand being our second.
#include "backends/cuda/lower/gemm_lt.h"

#include <algorithm>
#include <array>

namespace lathe::cuda {
namespace {

constexpr int kMaxChoices = 16;

int cuda_data_type(DType type) {
  switch (type) {
    case DType::f64: return kCudaR64F;
    case DType::f16: return kCudaR16F;
    case DType::bf16: return kCudaR16BF;
    default: return kCudaR32F;
  }
}

// cuBLASLt computes epilogues in f32 whatever the matrices hold, so casts between the two change nothing.
int behind_casts(const MapProgram& program, int at) {
  const auto& code = program.code();
  while (code[static_cast<size_t>(at)].op == MapOp::cast) at = code[static_cast<size_t>(at)].args[0];
  return at;
}

// Takes an addition of an operand off the tree at `at`; false when there is none to take.
bool take_addition(const Epilogue& epilogue, int& at, LtEpilogue& form) {
  const MapProgram& program = epilogue.program();
  const auto& code = program.code();
  const MapInstr& sum = code[static_cast<size_t>(at)];
  if (sum.op != MapOp::add) return false;
  for (const size_t side : {0, 1}) {
    const MapInstr& operand = code[static_cast<size_t>(behind_casts(program, sum.args[side]))];
    const int input = operand.args[0];
    if (operand.op != MapOp::input || input == 0) continue;
    const bool bias = form.bias < 0 && epilogue.is_bias(input);
    const bool residual = form.residual < 0 && epilogue.is_full(input);
    if (!(bias || residual) || epilogue.extra_type(input) != epilogue.product()) continue;
    (bias ? form.bias : form.residual) = input;
    at = behind_casts(program, sum.args[1 - side]);
    return true;
  }
  return false;
}

std::optional<uint32_t> activation_of(MapOp op) {
  if (op == MapOp::relu) return kEpilogueRelu;
  if (op == MapOp::gelu_tanh) return kEpilogueGelu;
  return std::nullopt;
}

}  // namespace

std::optional<LtEpilogue> match_lt_epilogue(const Epilogue& epilogue) {
  LtEpilogue form;
  if (epilogue.empty()) return form;
  const auto& code = epilogue.program().code();
  for (const MapInstr& instr : code)
    if (instr.type != epilogue.product() && instr.type != DType::f32) return std::nullopt;
  if (epilogue.program().result_type() != epilogue.product()) return std::nullopt;
  int at = behind_casts(epilogue.program(), static_cast<int>(code.size()) - 1);
  const auto instr = [&] { return code[static_cast<size_t>(at)]; };
  if (const auto activation = activation_of(instr().op)) {
    form.activation = *activation;
    at = behind_casts(epilogue.program(), instr().args[0]);
  }
  while (take_addition(epilogue, at, form)) {
  }
  if (instr().op == MapOp::mul && epilogue.product() != DType::f64) {
    for (const size_t side : {0, 1}) {
      const MapInstr& factor = code[static_cast<size_t>(instr().args[side])];
      if (factor.op != MapOp::constant) continue;
      form.alpha = static_cast<float>(factor.real);
      at = behind_casts(epilogue.program(), instr().args[1 - side]);
      break;
    }
  }
  if (instr().op != MapOp::input || instr().args[0] != 0) return std::nullopt;
  return form;
}

int64_t nearest_power_of_two(int64_t m) {
  int64_t power = 1;
  while (power <= m / 2) power *= 2;
  const double ratio = static_cast<double>(m) / static_cast<double>(power);
  return ratio * ratio > 2 ? 2 * power : power;
}

LtPlan::Layouts::Layouts(const CublasLtApi& api, const LtProblem& problem, int64_t rows)
    : api_(api), problem_(problem) {
  const int64_t n = problem.n, k = problem.k;
  describe(a, problem.trans_a ? k : rows, problem.trans_a ? rows : k, problem.a_batch);
  describe(b, problem.trans_b ? n : k, problem.trans_b ? k : n, problem.b_batch);
  describe(output, rows, n, rows * n);
}

LtPlan::Layouts::~Layouts() {
  for (const cublasLtMatrixLayout_t layout : {a, b, output})
    if (layout != nullptr) api_.layout_destroy(layout);
}

void LtPlan::Layouts::describe(cublasLtMatrixLayout_t& layout, int64_t rows, int64_t columns,
                               int64_t batch_stride) const {
  // Row-major rows x columns is column-major columns x rows.
  api_.check(api_.layout_create(&layout, cuda_data_type(problem_.type), static_cast<uint64_t>(columns),
                                static_cast<uint64_t>(rows), columns),
             "describing a matrix");
  if (problem_.batches == 1) return;
  const auto count = static_cast<int32_t>(problem_.batches);
  api_.layout_set(layout, kLayoutBatchCount, &count, sizeof(count));
  api_.layout_set(layout, kLayoutBatchStride, &batch_stride, sizeof(batch_stride));
}

LtPlan::LtPlan(const CublasLt& library, const LtProblem& problem, const LtEpilogue& epilogue)
    : library_(library), problem_(problem), epilogue_(epilogue), layouts_(library.api(), problem_, problem.m) {}

LtPlan::~LtPlan() {
  if (desc_ != nullptr) library_.api().desc_destroy(desc_);
}

std::unique_ptr<LtPlan> LtPlan::make(const CublasLt& library, const LtProblem& problem, const LtEpilogue& epilogue,
                                     int choice) {
  std::unique_ptr<LtPlan> plan(new LtPlan(library, problem, epilogue));
  plan->describe_product();
  return plan->choose(choice) ? std::move(plan) : nullptr;
}

void LtPlan::describe_product() {
  const CublasLtApi& api = library_.api();
  const bool wide = problem_.type == DType::f64;
  const int f32_compute = problem_.tf32 && problem_.type == DType::f32 ? kCompute32FFastTf32 : kCompute32F;
  api.check(api.desc_create(&desc_, wide ? kCompute64F : f32_compute, wide ? kCudaR64F : kCudaR32F),
            "describing a product");
  const int32_t first = problem_.trans_b ? kOpTranspose : kOpNone, second = problem_.trans_a ? kOpTranspose : kOpNone;
  api.desc_set(desc_, kDescTransA, &first, sizeof(first));
  api.desc_set(desc_, kDescTransB, &second, sizeof(second));
  const uint32_t epilogue_kind = epilogue_.activation | (epilogue_.bias >= 0 ? kEpilogueBias : 0);
  const uint32_t kind = epilogue_kind == 0 ? kEpilogueDefault : epilogue_kind;
  api.desc_set(desc_, kDescEpilogue, &kind, sizeof(kind));
  if (epilogue_.bias < 0) return;
  const uintptr_t aligned = problem_.alignment;  // stands for an address: the heuristic asks for no more
  api.desc_set(desc_, kDescBiasPointer, &aligned, sizeof(aligned));
}

bool LtPlan::choose(int choice) {
  std::optional<cublasLtMatmulAlgo_t> algo;
  if (problem_.like_m != 0 && problem_.like_m != problem_.m)
    algo = ask(Layouts(library_.api(), problem_, problem_.like_m), choice);
  if (!algo || !computes(*algo)) algo = ask(layouts_, choice);
  if (algo) algo_ = *algo;
  return algo.has_value();
}

std::optional<cublasLtMatmulAlgo_t> LtPlan::ask(const Layouts& layouts, int choice) const {
  const CublasLtApi& api = library_.api();
  cublasLtMatmulPreference_t preference = nullptr;
  api.check(api.preference_create(&preference), "asking for algorithms");
  const size_t workspace = kLtWorkspaceBytes;
  api.preference_set(preference, kPreferMaxWorkspace, &workspace, sizeof(workspace));
  const auto alignment = static_cast<uint32_t>(problem_.alignment);
  for (const int which : {kPreferAlignmentA, kPreferAlignmentB, kPreferAlignmentC, kPreferAlignmentD})
    api.preference_set(preference, which, &alignment, sizeof(alignment));
  std::array<cublasLtMatmulHeuristicResult_t, kMaxChoices> results;
  int found = 0;
  const cublasStatus_t status =
      api.heuristic(library_.handle(), desc_, layouts.b, layouts.a, layouts.output, layouts.output, preference,
                    std::min(choice + 1, kMaxChoices), results.data(), &found);
  api.preference_destroy(preference);
  if (status != 0 || found == 0) return std::nullopt;
  return results[static_cast<size_t>(std::min(choice, found - 1))].algo;
}

bool LtPlan::computes(const cublasLtMatmulAlgo_t& algo) const {
  cublasLtMatmulHeuristicResult_t result;
  return library_.api().algo_check(library_.handle(), desc_, layouts_.b, layouts_.a, layouts_.output, layouts_.output,
                                   &algo, &result) == 0 &&
         result.workspaceSize <= kLtWorkspaceBytes;
}

void LtPlan::run(const void* a, const void* b, const void* bias, const void* residual, void* output, void* workspace,
                 CUstream stream) const {
  const CublasLtApi& api = library_.api();
  if (bias != nullptr) api.desc_set(desc_, kDescBiasPointer, &bias, sizeof(bias));
  const float alpha = epilogue_.alpha, beta = residual != nullptr ? 1.0f : 0.0f;
  const double wide_alpha = alpha, wide_beta = beta;
  const bool wide = problem_.type == DType::f64;
  api.check(api.matmul(library_.handle(), desc_, wide ? static_cast<const void*>(&wide_alpha) : &alpha, b, layouts_.b,
                       a, layouts_.a, wide ? static_cast<const void*>(&wide_beta) : &beta,
                       residual != nullptr ? residual : output, layouts_.output, output, layouts_.output, &algo_,
                       workspace, kLtWorkspaceBytes, stream),
            "multiplying");
}

}  // namespace lathe::cuda
