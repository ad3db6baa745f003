// Products by cuBLASLt: which epilogues it can compute, and plans for one set of sizes.
#pragma once

#include <optional>

#include "backends/cuda/libraries.h"
#include "backends/cuda/lower/epilogue.h"

namespace lathe::cuda {

// activation(alpha * product + residual + bias), the form that cuBLASLt computes while it stores. Its relu gives 0 for
// NaN; its gelu is the formula with tanh.
struct LtEpilogue {
  float alpha = 1;
  int bias = -1, residual = -1;  // program inputs
  uint32_t activation = 0;       // kEpilogueRelu, kEpilogueGelu or none
};

// nullopt when the program does more than the form can say.
std::optional<LtEpilogue> match_lt_epilogue(const Epilogue& epilogue);

// y[b] [m, n] = a[b] * w[b], all row-major.
struct LtProblem {
  DType type = DType::f32;
  int64_t m = 0, n = 0, k = 0;
  bool trans_a = false, trans_b = false;
  int64_t batches = 1, a_batch = 0, b_batch = 0;
  size_t alignment = 16;  // of all addresses, in bytes
  bool tf32 = false;
};

inline constexpr size_t kLtWorkspaceBytes = size_t{32} << 20;

// Descriptors and the algorithm. Used by one session, as addresses of biases are part of the descriptor.
class LtPlan {
 public:
  // Takes the heuristic's algorithm number `choice`, or the last one if it knows fewer. Null when it knows none.
  static std::unique_ptr<LtPlan> make(const CublasLt& library, const LtProblem& problem, const LtEpilogue& epilogue,
                                      int choice);
  ~LtPlan();
  LtPlan(const LtPlan&) = delete;
  LtPlan& operator=(const LtPlan&) = delete;

  // `bias` and `residual` are null where the epilogue has none.
  void run(const void* a, const void* b, const void* bias, const void* residual, void* output, void* workspace,
           CUstream stream) const;

 private:
  LtPlan(const CublasLt& library, const LtProblem& problem, const LtEpilogue& epilogue);
  cublasLtMatrixLayout_t layout(uint64_t rows, uint64_t columns, int64_t batch_stride) const;
  bool choose(int choice);

  const CublasLt& library_;
  LtProblem problem_;
  LtEpilogue epilogue_;
  cublasLtMatmulDesc_t desc_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, output_ = nullptr;
  cublasLtMatmulAlgo_t algo_{};
};

}  // namespace lathe::cuda
