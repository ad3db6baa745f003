// What shape inference of one op needs: one overload of infer_op per op, each in ops/<family>.cc, and the context
// through which they read operands and report what does not fit. Every message ends with the types of all operands.
#pragma once

#include <span>
#include <vector>

#include "base/error.h"
#include "graph/graph.h"

namespace lathe {

class InferContext {
 public:
  InferContext(std::string_view op, std::span<const Type* const> inputs, size_t num_outputs, SymbolSource& symbols)
      : op_(op), inputs_(inputs), num_outputs_(num_outputs), symbols_(symbols) {}

  size_t count() const { return inputs_.size(); }
  size_t num_outputs() const { return num_outputs_; }
  void expect_inputs(size_t least, size_t most) const;
  void expect_outputs(size_t most) const;

  bool has(size_t i) const { return i < inputs_.size() && inputs_[i] != nullptr; }
  const Type& operand(size_t i) const;  // of any kind; must be there
  const Type& tensor(size_t i) const;   // must be there and be a tensor
  // The types of the tensors from operand `first` on, all of which must be there.
  std::vector<const Type*> tensors_from(size_t first) const;

  const Type& float_tensor(size_t i) const;
  const Type& index_tensor(size_t i) const;  // i32 or i64
  void expect_dtype(size_t i, DType type) const;
  void expect_rank(size_t i, int64_t rank) const;  // an unranked operand passes
  // An operand of a broadcast must not enlarge `shape`.
  void expect_broadcasts_to(size_t i, const Shape& shape) const;

  // `axis` must be in [0, rank).
  size_t axis(int64_t axis, int64_t rank) const;
  // Both name the same size: the better known one. Fails when they can never be equal.
  Dim same(const Dim& a, const Dim& b, std::string_view what) const;
  Shape same(const Shape& a, const Shape& b, std::string_view what) const;
  Shape broadcast(const Shape& a, const Shape& b) const;
  // A size that only the run time knows.
  Dim fresh() const { return Dim::symbol(symbols_.fresh("u")); }

  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    fail_with(fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  [[noreturn]] void fail_with(std::string message) const;

  std::string_view op_;
  std::span<const Type* const> inputs_;
  size_t num_outputs_;
  SymbolSource& symbols_;
};

// True only if a and b differ whatever the symbols are.
bool never_equal(const Dim& a, const Dim& b);

// The type of a product of two matrices or of a convolution, after `epilogue` over operands `first_extra` and up.
DType product_dtype(const InferContext& c, size_t a, size_t b);
DType check_epilogue(const InferContext& c, const MapProgram& epilogue, DType product, const Shape& shape,
                     size_t first_extra);
// Checks a program over a leading value (if any) and the tensors of operands `first` and up.
void check_program(const InferContext& c, const MapProgram& program, std::vector<DType> leading, size_t first,
                   size_t last);

// Heads in the columns of an operand: `dim` columns each, `stride` apart, from column `offset` on.
struct HeadColumns {
  size_t operand;
  int64_t heads, dim, offset, stride;
};
// Checks that all heads lie inside the operand.
void check_head_columns(const InferContext& c, const HeadColumns& layout, const Dim& columns);

using Types = std::vector<Type>;

Types infer_op(const Constant& op, InferContext& c);
Types infer_op(const Dims& op, InferContext& c);
Types infer_op(const Bind& op, InferContext& c);
Types infer_op(const Map& op, InferContext& c);
Types infer_op(const Reduce& op, InferContext& c);
Types infer_op(const ArgReduce& op, InferContext& c);
Types infer_op(const Cumulative& op, InferContext& c);
Types infer_op(const MatMul& op, InferContext& c);
Types infer_op(const MatMulNBits& op, InferContext& c);
Types infer_op(const GroupedMatMul& op, InferContext& c);
Types infer_op(const Conv& op, InferContext& c);
Types infer_op(const ConvTranspose& op, InferContext& c);
Types infer_op(const Pool& op, InferContext& c);
Types infer_op(const Norm& op, InferContext& c);
Types infer_op(const GroupNorm& op, InferContext& c);
Types infer_op(const Softmax& op, InferContext& c);
Types infer_op(const Attention& op, InferContext& c);
Types infer_op(const PagedAttention& op, InferContext& c);
Types infer_op(const Rotary& op, InferContext& c);
Types infer_op(const Embedding& op, InferContext& c);
Types infer_op(const Resize& op, InferContext& c);
Types infer_op(const Rnn& op, InferContext& c);
Types infer_op(const DynamicQuantize& op, InferContext& c);
Types infer_op(const Reshape& op, InferContext& c);
Types infer_op(const Transpose& op, InferContext& c);
Types infer_op(const Slice& op, InferContext& c);
Types infer_op(const Concat& op, InferContext& c);
Types infer_op(const Pad& op, InferContext& c);
Types infer_op(const ReverseSequence& op, InferContext& c);
Types infer_op(const Gather& op, InferContext& c);
Types infer_op(const GatherElements& op, InferContext& c);
Types infer_op(const GatherNd& op, InferContext& c);
Types infer_op(const ScatterElements& op, InferContext& c);
Types infer_op(const ScatterNd& op, InferContext& c);
Types infer_op(const TopK& op, InferContext& c);
Types infer_op(const NonZero& op, InferContext& c);
Types infer_op(const Nms& op, InferContext& c);
Types infer_op(const PackTokens& op, InferContext& c);
Types infer_op(const If& op, InferContext& c);
Types infer_op(const Loop& op, InferContext& c);
Types infer_op(const Scan& op, InferContext& c);
Types infer_op(const Sequence& op, InferContext& c);
Types infer_op(const Extern& op, InferContext& c);

}  // namespace lathe
