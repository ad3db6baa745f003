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
  int64_t like_m = 0;  // the algorithms are those for so many rows, where they can compute m; 0: for m itself
};

// The power of two that is nearest to m by ratio. cuBLASLt numbers its algorithms anew for every m. Where rows are
// open, those for such a number serve all that are near, so that what was timed at one size is what runs beside it.
int64_t nearest_power_of_two(int64_t m);

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
  // Of the three matrices.
  class Layouts {
   public:
    Layouts(const CublasLtApi& api, const LtProblem& problem, int64_t rows);
    ~Layouts();
    Layouts(const Layouts&) = delete;
    Layouts& operator=(const Layouts&) = delete;

    cublasLtMatrixLayout_t a = nullptr, b = nullptr, output = nullptr;

   private:
    void describe(cublasLtMatrixLayout_t& layout, int64_t rows, int64_t columns, int64_t batch_stride) const;

    const CublasLtApi& api_;
    const LtProblem& problem_;
  };

  LtPlan(const CublasLt& library, const LtProblem& problem, const LtEpilogue& epilogue);
  void describe_product();
  bool choose(int choice);
  std::optional<cublasLtMatmulAlgo_t> ask(const Layouts& layouts, int choice) const;
  bool computes(const cublasLtMatmulAlgo_t& algo) const;  // these sizes

  const CublasLt& library_;
  LtProblem problem_;
  LtEpilogue epilogue_;
  Layouts layouts_;
  cublasLtMatmulDesc_t desc_ = nullptr;
  cublasLtMatmulAlgo_t algo_{};
};

}  // namespace lathe::cuda
