// Products with few rows by weights [n, k] of 16, 8 or 4 bits: kernels/matmul_few.cu.
#pragma once

#include <optional>
#include <vector>

#include "backends/cuda/kernels/matmul_few_args.h"
#include "backends/cuda/lower/gemm_row.h"

namespace lathe::cuda {

// Weights as they are stored.
struct FewWeights {
  DType type;                        // that of the activations; or i8, u8, i4, u4, less their zeros, times their scales
  DType scale = DType::f32;          // of integers
  int64_t block = int64_t{1} << 62;  // of terms that share a scale; k or more: all of a row do
  bool zeros = false;                // of the weights' type; else the zero is its middle
  bool ahead = false;                // constant, and what is before the product leaves the memory idle
  bool before_norm = false;          // a norm follows
};

// Notes what stands around a product: kernels of attention before it, which wait more than they read; norms after it.
void look_around(FewWeights& weights, const Node& node);

class FewRowsGemm {
 public:
  // Activations of f16 or bf16. `k` must be known to divide into the steps of the kernel.
  static bool knows(DType activations, const FewWeights& weights, int64_t k);
  static int64_t most_rows(DType weights);
  // Compiles what all numbers of rows take, or only what `rows` take, if these are known.
  // `first_extra`: the node's operand that is input 1 of its epilogue.
  FewRowsGemm(const GemmTypes& types, const FewWeights& weights, int64_t n, int64_t k, std::optional<int64_t> rows,
              const Node& node, size_t first_extra, const Target& target);

  bool fits(const MatmulSizes& sizes) const;
  int splits(const MatmulSizes& sizes) const;
  size_t workspace_bytes(const MatmulSizes& sizes) const;
  // `args` without the splits of k and where they go.
  void run(const MatmulArgs& args, const void* scales, const void* zeros, int splits, void* workspace,
           CudaContext& context) const;

 private:
  struct Variant;
  struct Compiled {
    const Variant* variant;
    const Kernel* kernel;
  };
  static std::span<const Variant> variants();
  const Compiled& compiled_for(int64_t rows) const;
  bool goes_by_row(int64_t rows) const { return rows == 1 && row_.has_value(); }
  int64_t steps_ahead(int64_t n) const;

  FewWeights weights_;
  int64_t k_, most_rows_;
  int64_t span_;  // terms of a step
  bool grouped_;
  const Target& target_;
  std::optional<RowGemm> row_;      // serves one row
  std::vector<Compiled> compiled_;  // by rows
  const Kernel* finish_;
};

}  // namespace lathe::cuda
