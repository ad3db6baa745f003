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

LtPlan::LtPlan(const CublasLt& library, const LtProblem& problem, const LtEpilogue& epilogue)
    : library_(library), problem_(problem), epilogue_(epilogue) {}

LtPlan::~LtPlan() {
  const CublasLtApi& api = library_.api();
  if (desc_ != nullptr) api.desc_destroy(desc_);
  for (const cublasLtMatrixLayout_t layout : {a_, b_, output_})
    if (layout != nullptr) api.layout_destroy(layout);
}

cublasLtMatrixLayout_t LtPlan::layout(uint64_t rows, uint64_t columns, int64_t batch_stride) const {
  const CublasLtApi& api = library_.api();
  cublasLtMatrixLayout_t layout = nullptr;
  // Row-major rows x columns is column-major columns x rows.
  api.check(api.layout_create(&layout, cuda_data_type(problem_.type), columns, rows, static_cast<int64_t>(columns)),
            "describing a matrix");
  if (problem_.batches > 1) {
    const auto count = static_cast<int32_t>(problem_.batches);
    api.layout_set(layout, kLayoutBatchCount, &count, sizeof(count));
    api.layout_set(layout, kLayoutBatchStride, &batch_stride, sizeof(batch_stride));
  }
  return layout;
}

std::unique_ptr<LtPlan> LtPlan::make(const CublasLt& library, const LtProblem& problem, const LtEpilogue& epilogue,
                                     int choice) {
  std::unique_ptr<LtPlan> plan(new LtPlan(library, problem, epilogue));
  const CublasLtApi& api = library.api();
  const auto m = static_cast<uint64_t>(problem.m), n = static_cast<uint64_t>(problem.n),
             k = static_cast<uint64_t>(problem.k);
  const bool wide = problem.type == DType::f64;
  const int f32_compute = problem.tf32 && problem.type == DType::f32 ? kCompute32FFastTf32 : kCompute32F;
  api.check(api.desc_create(&plan->desc_, wide ? kCompute64F : f32_compute, wide ? kCudaR64F : kCudaR32F),
            "describing a product");
  const int32_t first = problem.trans_b ? kOpTranspose : kOpNone, second = problem.trans_a ? kOpTranspose : kOpNone;
  api.desc_set(plan->desc_, kDescTransA, &first, sizeof(first));
  api.desc_set(plan->desc_, kDescTransB, &second, sizeof(second));
  const uint32_t epilogue_kind = epilogue.activation | (epilogue.bias >= 0 ? kEpilogueBias : 0);
  const uint32_t kind = epilogue_kind == 0 ? kEpilogueDefault : epilogue_kind;
  api.desc_set(plan->desc_, kDescEpilogue, &kind, sizeof(kind));
  if (epilogue.bias >= 0) {
    const uintptr_t aligned = problem.alignment;  // stands for an address: the heuristic asks for no more
    api.desc_set(plan->desc_, kDescBiasPointer, &aligned, sizeof(aligned));
  }
  plan->a_ = problem.trans_a ? plan->layout(k, m, problem.a_batch) : plan->layout(m, k, problem.a_batch);
  plan->b_ = problem.trans_b ? plan->layout(n, k, problem.b_batch) : plan->layout(k, n, problem.b_batch);
  plan->output_ = plan->layout(m, n, problem.m * problem.n);
  return plan->choose(choice) ? std::move(plan) : nullptr;
}

bool LtPlan::choose(int choice) {
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
  const cublasStatus_t status = api.heuristic(library_.handle(), desc_, b_, a_, output_, output_, preference,
                                              std::min(choice + 1, kMaxChoices), results.data(), &found);
  api.preference_destroy(preference);
  if (status != 0 || found == 0) return false;
  algo_ = results[static_cast<size_t>(std::min(choice, found - 1))].algo;
  return true;
}

void LtPlan::run(const void* a, const void* b, const void* bias, const void* residual, void* output, void* workspace,
                 CUstream stream) const {
  const CublasLtApi& api = library_.api();
  if (bias != nullptr) api.desc_set(desc_, kDescBiasPointer, &bias, sizeof(bias));
  const float alpha = epilogue_.alpha, beta = residual != nullptr ? 1.0f : 0.0f;
  const double wide_alpha = alpha, wide_beta = beta;
  const bool wide = problem_.type == DType::f64;
  api.check(api.matmul(library_.handle(), desc_, wide ? static_cast<const void*>(&wide_alpha) : &alpha, b, b_, a, a_,
                       wide ? static_cast<const void*>(&wide_beta) : &beta, residual != nullptr ? residual : output,
                       output_, output, output_, &algo_, workspace, kLtWorkspaceBytes, stream),
            "multiplying");
}

}  // namespace lathe::cuda
