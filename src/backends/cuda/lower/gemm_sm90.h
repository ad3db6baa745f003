// Products by Hopper's own matrix instructions, in several tile shapes that the tuner times: kernels/matmul_sm90.cu,
// and for few rows kernels/matmul_sm90_split.cu.
#pragma once

#include <optional>
#include <vector>

#include "backends/cuda/lower/gemm_kernels.h"

namespace lathe::cuda {

struct Sm90Variant {
  std::string_view name;
  int rows, columns;  // of a tile
  int stages;         // of terms on their way
  int waves = 0;      // blocks per multiprocessor that a product is split for; 0: it is not split
};
// Those worth trying for a number of rows, as far as it is known, that can store results of a type.
std::vector<const Sm90Variant*> sm90_variants(std::optional<int64_t> rows, DType output);

class Sm90Gemm {
 public:
  // Bytes only with lines of both factors along the terms: with trans_b.
  static bool knows(const GemmTypes& types, const DeviceInfo& device);
  Sm90Gemm(const GemmTypes& types, const Sm90Variant& variant, const Target& target);

  // Whether weights of n x k, lines along the terms, fit with any number of rows (short of 2^28).
  static bool takes_weights(const GemmTypes& types, int64_t n, int64_t k);
  bool fits(const MatmulSizes& sizes) const;
  void run(MatmulArgs args, CUstream stream) const;

 private:
  int splits(const MatmulArgs& args) const;
  int64_t tiles(const MatmulArgs& args) const;

  GemmTypes types_;
  Sm90Variant variant_;
  const Target& target_;
  const Kernel* kernel_;
};

}  // namespace lathe::cuda
