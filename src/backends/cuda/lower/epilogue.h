// What is computed on the result of a product or convolution before it is the node's output. Kernels of Lathe's own
// compute it while they store (kernels/epilogue.cuh), if its operands are laid out simply; after other kernels a map
// over the stored result does.
#pragma once

#include <array>
#include <optional>

#include "backends/cuda/kernels/epilogue_args.h"
#include "backends/cuda/lower/program_map.h"

namespace lathe::cuda {

// The type of a product of two types, as the graph defines it; nullopt when there is none.
std::optional<DType> product_type(DType a, DType b);

// Which extras differ from row to row, and from column to column: a bit for each, for kernels that are specialised for
// that.
struct ExtraMasks {
  unsigned rows = 0, columns = 0;
};

class Epilogue {
 public:
  // Axes of the output up to outer_end are its outer ones, from there up to row_end its rows, the rest its columns.
  struct View {
    size_t outer_end = 0, row_end = 0;
  };

  // `extras` are the node's operands from the third on; the program and the node must outlive this.
  Epilogue(const MapProgram& program, DType product, const Node& node, View view);

  bool empty() const { return program_.empty(); }
  const MapProgram& program() const { return program_; }
  DType product() const { return product_; }
  // Why neither way can compute it; empty when one can.
  std::string why_not() const;

  // ---- while storing ----
  bool fusable() const { return fusable_; }
  // The program for kernels/epilogue.cuh: the epilogue itself, or the identity where it is not fusable.
  std::string kernel_code() const;
  ExtraMasks extra_masks() const;
  DType kernel_output() const;                       // the type of that program's result
  EpilogueArgs kernel_args(const StepIo& io) const;  // strides, without addresses
  static void set_addresses(EpilogueArgs& args, const StepIo& io);

  // How the operand that is program input `i` lies against the output.
  bool is_bias(int i) const;  // one value per channel: per column, or per row where there are outer axes
  bool is_full(int i) const;  // as large as the output
  DType extra_type(int i) const { return node_.input(static_cast<size_t>(i) + 1)->dtype(); }

  // ---- over the stored product ----
  std::unique_ptr<ProgramMap> make_map(const Target& target) const;
  ProgramMap::Plan plan_map(const ProgramMap& map, const StepIo& io) const;
  static void run_map(const ProgramMap& map, const ProgramMap::Plan& plan, const void* product, const StepIo& io,
                      CUstream stream);
  // Bytes for the product where it cannot lie in the output, because its elements have another size.
  size_t product_bytes(const StepIo& io) const;

 private:
  // Of each of the three groups of axes, whether an operand has them all or repeats along them all.
  using Follows = std::array<bool, 3>;
  std::optional<Follows> follows(const Shape& extra) const;
  std::vector<MapOperand> map_operands() const;

  const MapProgram& program_;
  DType product_;
  const Node& node_;
  View view_;
  bool fusable_ = false;
  std::vector<Follows> extras_;  // when fusable
};

}  // namespace lathe::cuda
