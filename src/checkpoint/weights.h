// The weights of one model as constants of its graph, and the products with them. Each is asked for with the shape that
// the configuration implies; whatever does not fit is remembered, so that one Error tells all of it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_team.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/quantization.h"
#include "checkpoint/weight_options.h"
#include "graph/graph.h"

namespace lathe::checkpoint {

struct NarrowWeight;

// What a matrix is for, which decides how far it may be rounded (WeightOptions::bits).
enum class MatrixRole : uint8_t { layer, head, router };

struct Matrix {
  std::string name;  // whole, without ".weight"
  int64_t in = 0, out = 0;
  bool transposed = false;  // stored [in, out] rather than [out, in]
  MatrixRole role = MatrixRole::layer;
};

class Weights {
 public:
  // Products and biases are in the type `compute`: f32, f16 or bf16. `roots` are the prefixes, "a|b", that names may
  // have in the file, or none; the one counts under which the tensor `probe` is found.
  Weights(Graph& graph, const Checkpoint& checkpoint, DType compute, std::string_view roots, std::string_view probe,
          const WeightOptions& options = {});

  Graph& graph() const { return graph_; }
  DType compute() const { return compute_; }
  // What a name that stands behind the root is called in the file.
  std::string under_root(std::string_view name) const { return root_ + std::string(name); }

  // The one of the names "a|b" whose weight the file holds, rounded or not; the first where it holds none.
  std::string found_name(std::string_view names) const;

  // Names are whole, with ".weight" or ".bias".
  bool contains(const std::string& name) const { return checkpoint_.contains(name); }
  // How a tensor of this many elements is stored, whose axes of size 1 do not matter; `dims` where that does not fit.
  std::vector<int64_t> dims(const std::string& name, const std::vector<int64_t>& dims) const;
  // As stored: for look-ups, which convert what they find.
  Value* table(const std::string& name, std::vector<int64_t> dims);
  // An operand of products: of the compute type; or, where that is f32, of f16 too, which products widen exactly.
  Value* matrix(const std::string& name, int64_t rows, int64_t columns);
  Value* vector(const std::string& name, int64_t size);
  // In f32 whatever the compute type: the parameters of norms.
  Value* f32(const std::string& name, std::vector<int64_t> dims);

  // From now on the matrices that stand one upon the other in the tensor `name`, and their biases, have names of their
  // own: name + ".0" and so on.
  void unstack(const std::string& name, int64_t count);
  // x [.., in] times the matrix [in, out], in whichever way it is stored or to be rounded.
  Value* product(Value* x, const Matrix& matrix);

  // x [tokens, 1 or choices, in] times the matrices of the numbers chosen [tokens, choices], which are all of one size.
  Value* grouped_product(Value* x, Value* chosen, const std::vector<Matrix>& matrices);

  // Throws Error(invalid_model) that lists every tensor that was missing or did not fit. The graph is of no use then.
  void expect_complete() const;
  // What the checkpoint holds and nobody asked for, but for names that end in one of `buffers`, "a|b".
  std::vector<std::string> unused(std::string_view buffers) const;
  // Not a weight of this model, but known to belong to it.
  void ignore(const std::string& name) { ignored_.insert(name); }

 private:
  // Of MatMulNBits, but for the activations, which come in `order`; zeros and order may be null.
  struct Narrow {
    Value *q, *scales, *zeros, *order;
    int64_t block;
  };

  Tensor load(const std::string& name, std::vector<int64_t> dims);
  Value* of_products(Value* stored);
  Value* widened(const Matrix& matrix);
  Value* wide(const Matrix& matrix);
  const Narrow* narrow(const Matrix& matrix);
  NarrowWeight read_narrow_weight(const Matrix& matrix, int bits);
  NarrowWeight round(const Matrix& matrix, int bits);
  int bits_for(const Matrix& matrix) const;
  Tensor absent(DType dtype, std::vector<int64_t> dims);
  ThreadTeam& team();

  Graph& graph_;
  Checkpoint checkpoint_;  // its own, since it may take stacks of matrices apart
  DType compute_;
  WeightOptions options_;
  Quantization quantization_;
  std::string root_;
  std::map<std::string, Value*> constants_;  // one per tensor, however often it is used
  std::map<std::string, Narrow> narrow_;     // by the name of the matrix
  std::set<std::string> ignored_;
  std::set<std::string> unstacked_;
  std::vector<std::string> faults_;
  int64_t next_absent_ = 0;
  std::unique_ptr<ThreadTeam> team_;  // once there is something to read or round
};

}  // namespace lathe::checkpoint
