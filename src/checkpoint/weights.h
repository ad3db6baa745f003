// The weights of one model as constants of its graph. Each is asked for with the shape that the configuration implies;
// whatever does not fit is remembered, so that one Error tells all of it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "graph/graph.h"

namespace lathe::checkpoint {

class Weights {
 public:
  // Products and biases are in the type `compute`: f32, f16 or bf16. `roots` are the prefixes, "a|b", that names may
  // have in the file, or none; the one counts under which the tensor `probe` is found.
  Weights(Graph& graph, const Checkpoint& checkpoint, DType compute, std::string_view roots, std::string_view probe);

  Graph& graph() const { return graph_; }
  DType compute() const { return compute_; }
  // What a name that stands behind the root is called in the file.
  std::string under_root(std::string_view name) const { return root_ + std::string(name); }

  // The one of the names "a|b" whose weight the file holds; the first where it holds none.
  std::string found_name(std::string_view names) const;

  // Names are whole, with ".weight" or ".bias".
  bool contains(const std::string& name) const { return checkpoint_.contains(name); }
  // How a tensor of this many elements is stored, whose axes of size 1 do not matter; `dims` where that does not fit.
  std::vector<int64_t> dims(const std::string& name, std::vector<int64_t> dims) const;
  // As stored: for look-ups, which convert what they find.
  Value* table(const std::string& name, std::vector<int64_t> dims);
  // An operand of products: of the compute type; or, where that is f32, of f16 too, which products widen exactly.
  Value* matrix(const std::string& name, int64_t rows, int64_t columns);
  Value* vector(const std::string& name, int64_t size);
  // In f32 whatever the compute type: the parameters of norms.
  Value* f32(const std::string& name, std::vector<int64_t> dims);

  // Throws Error(invalid_model) that lists every tensor that was missing or did not fit. The graph is of no use then.
  void expect_complete() const;
  // What the checkpoint holds and nobody asked for, but for names that end in one of `buffers`, "a|b".
  std::vector<std::string> unused(std::string_view buffers) const;
  // Not a weight of this model, but known to belong to it.
  void ignore(const std::string& name) { ignored_.insert(name); }

 private:
  Tensor load(const std::string& name, std::vector<int64_t> dims);

  Graph& graph_;
  const Checkpoint& checkpoint_;
  DType compute_;
  std::string root_;
  std::map<std::string, Value*> constants_;  // one per tensor, however often it is used
  std::set<std::string> ignored_;
  std::vector<std::string> faults_;
};

}  // namespace lathe::checkpoint
