// Lathe's own kernels for products: which variants there are, and how they are launched.
#pragma once

#include "backends/cuda/kernels/matmul_args.h"
#include "backends/cuda/lower/epilogue.h"
#include "backends/cuda/lower/matmul_sizes.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {

// What the variants are compiled for.
struct GemmTypes {
  DType a = DType::f32, b = DType::f32, product = DType::f32;
  DType output = DType::f32;  // what the epilogue gives
  bool trans_a = false, trans_b = false;
  std::string epilogue;  // program text
  ExtraMasks extras;     // how its operands lie
};

inline bool is_byte(DType type) { return type == DType::i8 || type == DType::u8; }
// What kernels for tensor cores call the type of a factor.
inline std::string operand_type(DType type) { return type == DType::f8e4m3 ? "e4m3" : std::string(cuda_type(type)); }

// The arguments of one repeat, without addresses.
MatmulArgs matmul_args(const MatmulSizes& sizes, const EpilogueArgs& epilogue);

// ---- k split among blocks, whose sums kernels/matmul_finish.cu adds ----

size_t partial_bytes(const MatmulSizes& sizes, int splits);
const Kernel* request_finish(const GemmTypes& types, const Target& target);
void run_finish(const Kernel& finish, const MatmulArgs& args, CUstream stream);  // nothing where there is no split

// ---- few rows: kernels/matmul_skinny.cu ----

inline constexpr int64_t kSkinnyRows = 8;  // at most

class SkinnyGemm {
 public:
  static bool knows(const GemmTypes& types);
  // Serves up to `most_rows`. Compiles the variants for one row and for more, unless it is known that there are `rows`.
  SkinnyGemm(const GemmTypes& types, int64_t most_rows, std::optional<int64_t> rows, const Target& target);

  bool fits(const MatmulSizes& sizes) const;
  int splits(const MatmulSizes& sizes) const;
  size_t workspace_bytes(const MatmulSizes& sizes) const;
  void run(MatmulArgs args, int splits, void* workspace, CUstream stream) const;

 private:
  int64_t vector() const;
  int64_t block_columns() const;

  GemmTypes types_;
  int64_t most_rows_;
  const Target& target_;
  const Kernel *one_row_ = nullptr, *rows_ = nullptr, *finish_ = nullptr;
};

// ---- tensor cores: kernels/matmul_mma.cu ----

class MmaGemm {
 public:
  // Factors of one byte only with trans_b, those that are floats from sm_89 on.
  static bool knows(const GemmTypes& types, const DeviceInfo& device);
  MmaGemm(const GemmTypes& types, const Target& target);

  // Whether weights of n x k fit with any number of rows.
  static bool takes_weights(const GemmTypes& types, int64_t n, int64_t k);
  bool fits(const MatmulSizes& sizes) const;
  int splits(const MatmulSizes& sizes) const;
  size_t workspace_bytes(const MatmulSizes& sizes) const;
  void run(MatmulArgs args, int splits, void* workspace, CUstream stream) const;

 private:
  GemmTypes types_;
  const Target& target_;
  size_t shared_bytes_ = 0;
  const Kernel *kernel_ = nullptr, *finish_ = nullptr;
};

// ---- multiply-adds: kernels/matmul_tile.cu ----

class TileGemm {
 public:
  TileGemm(const GemmTypes& types, const Target& target);
  void run(const MatmulArgs& args, CUstream stream) const;

 private:
  int64_t block_ = 0;
  const Kernel* kernel_ = nullptr;
};

}  // namespace lathe::cuda
