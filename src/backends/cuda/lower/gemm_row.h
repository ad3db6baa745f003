// Products of one row, as in decoding a single sequence: kernels/matmul_row.cu. What lies between two products then
// takes as long as the product, so those that follow each other on the same row become one launch, which may normalise
// the row as well: a step leaves its launch with the context (Deferred), and the step after it takes that along if it
// can. Whether it can is seen in the addresses: nothing that one of them writes may be touched by another.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/kernels/matmul_row_args.h"
#include "backends/cuda/lower/gemm_kernels.h"
#include "backends/cuda/lower/memory_span.h"

namespace lathe::cuda {

// A norm over a row of halves that may become part of the products behind it.
struct RowNorm {
  const lathe::Norm* op;
  std::optional<DType> scale, bias;
};
// Of a norm whose result products read; nothing where a kernel for products cannot compute it.
std::optional<RowNorm> row_norm(const Node& norm);

// What a product of one row may have to do with its neighbours.
struct RowNeighbours {
  std::optional<RowNorm> norm;  // which gives the row
  bool others = false;          // products of the same row
  int partner = 0;              // the input of this one's program that one of them gives, to nobody else; 0: none
};
// `first_extra`: the node's operand that is input 1 of its epilogue.
RowNeighbours row_neighbours(const Node& product, size_t first_extra);

// The launch of a norm of one row that the next product may take along.
class RowNormLaunch : public Deferred {
 public:
  struct Row {
    const void *x, *scale, *bias;
    void* output;
    int64_t width;
    double epsilon;
    size_t bytes;  // of the row
  };
  RowNormLaunch(const Row& row, std::function<void(CUstream)> alone) : row_(row), alone_(std::move(alone)) {}
  const Row& row() const { return row_; }
  void launch(CUstream stream) override { alone_(stream); }

 private:
  Row row_;
  std::function<void(CUstream)> alone_;
};

class RowGemm {
 public:
  // Rows fit into shared memory, and columns occupy enough of the chip.
  static bool knows(int64_t n, int64_t k);
  // `weights`: the definitions that say how they are stored; `step_terms`: LANE's of all four threads.
  RowGemm(const GemmTypes& types, std::vector<std::string> weights, int64_t step_terms, int64_t k, const Node& node,
          size_t first_extra, const Target& target);

  // `blocks` of 2^block_shift steps share a scale.
  void run(const MatmulArgs& args, const void* scales, const void* zeros, int64_t blocks, int block_shift,
           CudaContext& context) const;

 private:
  friend class RowLaunch;
  struct Form {
    bool normalises = false, pairs = false;
  };
  const Kernel& request(Form form) const;
  int64_t stages(Form form) const;
  size_t shared_bytes(Form form) const;

  GemmTypes types_;
  std::vector<std::string> weights_;
  int64_t step_bytes_;  // of weights that a warp takes at a time, of one matrix
  int64_t k_;
  RowNeighbours neighbours_;
  std::vector<size_t> extra_bytes_;  // of an element
  const Target& target_;
  const Kernel *plain_, *normalising_ = nullptr, *pair_ = nullptr, *normalising_pair_ = nullptr;
};

}  // namespace lathe::cuda
