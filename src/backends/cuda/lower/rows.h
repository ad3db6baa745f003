// How the kernels of kernels/row.cuh are specialised for rows of a width.
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/lower/lower.h"

namespace lathe::cuda {

struct RowPlan {
  int group = 32;  // threads that share a row
  int chunks = 0;  // packs that each of them holds; 0: the row is read again by every pass
  int vector = 1;

  static RowPlan of(int64_t width, int vector);
  // For rows that are too few to bring all of the chip to work otherwise: more threads for each.
  static RowPlan of_few(int64_t width, int vector);
  // What rows of a width that is not known when lowering may need: kernels are then asked for ahead of time.
  static std::vector<RowPlan> any(int vector);
  // Rather few kernels for all widths than the best one for each.
  static RowPlan among_any(int64_t width, int vector);

  unsigned threads() const { return static_cast<unsigned>(group < 128 ? 128 : group); }
  unsigned blocks(int64_t rows) const { return static_cast<unsigned>(ceil_div(rows, threads() / group)); }
  void add_defines(std::vector<std::string>& defines) const;
};

// The kernels of one step, by the width of its rows. `base` lacks what the plan adds.
class RowKernels {
 public:
  // `width`: as far as it is known when lowering. `vector`: elements of a pack, when rows allow packs.
  RowKernels(KernelSpec base, const Dim& width, int vector, const Target& target);

  struct Choice {
    const Kernel* kernel;
    RowPlan plan;
  };
  // For `rows` of `width`, which are multiples of packs if `packed`.
  Choice choose(int64_t rows, int64_t width, bool packed) const;

 private:
  const Kernel& request(const RowPlan& plan) const;

  KernelSpec base_;
  bool fixed_;
  int vector_;
  const Target& target_;
};

// Elements in 16 bytes.
inline int pack_of(DType type) { return 128 / bit_width(type); }

}  // namespace lathe::cuda
