// What evaluator.cc and the op families agree on: the operands of one evaluation, and one overload of evaluate() per
// op, defined in the file of its family.
#pragma once

#include <span>
#include <vector>

#include "graph/reference/evaluator.h"

namespace lathe::reference {

// The operands and surroundings of one evaluation. Tensors are aligned for their element type.
struct Call {
  std::span<const RefValue* const> inputs;
  size_t num_outputs;
  SymbolBindings& symbols;

  bool has(size_t i) const { return i < inputs.size() && inputs[i] != nullptr; }
  // Throw Error(invalid_model) when the operand is absent or of another kind.
  const RefValue& value(size_t i) const;
  const Tensor& tensor(size_t i) const;
  const std::vector<Tensor>& sequence(size_t i) const;
  // nullptr when absent.
  const Tensor* optional_tensor(size_t i) const { return has(i) ? &tensor(i) : nullptr; }
  // The tensors from operand `first` on; none may be absent.
  std::vector<const Tensor*> tensors_from(size_t first) const;
};

// Evaluates the body of a control-flow op: the symbols of its input types are bound anew and forgotten afterwards.
std::vector<RefValue> evaluate_region(const Graph& body, std::span<const RefValue> inputs, SymbolBindings& symbols);

std::vector<RefValue> evaluate(const Constant& op, const Call& call);
std::vector<RefValue> evaluate(const Dims& op, const Call& call);
std::vector<RefValue> evaluate(const Bind& op, const Call& call);
std::vector<RefValue> evaluate(const Map& op, const Call& call);
std::vector<RefValue> evaluate(const Reduce& op, const Call& call);
std::vector<RefValue> evaluate(const ArgReduce& op, const Call& call);
std::vector<RefValue> evaluate(const Cumulative& op, const Call& call);
std::vector<RefValue> evaluate(const MatMul& op, const Call& call);
std::vector<RefValue> evaluate(const MatMulNBits& op, const Call& call);
std::vector<RefValue> evaluate(const GroupedMatMul& op, const Call& call);
std::vector<RefValue> evaluate(const Conv& op, const Call& call);
std::vector<RefValue> evaluate(const ConvTranspose& op, const Call& call);
std::vector<RefValue> evaluate(const Pool& op, const Call& call);
std::vector<RefValue> evaluate(const Norm& op, const Call& call);
std::vector<RefValue> evaluate(const GroupNorm& op, const Call& call);
std::vector<RefValue> evaluate(const Softmax& op, const Call& call);
std::vector<RefValue> evaluate(const Attention& op, const Call& call);
std::vector<RefValue> evaluate(const PagedAttention& op, const Call& call);
std::vector<RefValue> evaluate(const Rotary& op, const Call& call);
std::vector<RefValue> evaluate(const Embedding& op, const Call& call);
std::vector<RefValue> evaluate(const Resize& op, const Call& call);
std::vector<RefValue> evaluate(const Rnn& op, const Call& call);
std::vector<RefValue> evaluate(const DynamicQuantize& op, const Call& call);
std::vector<RefValue> evaluate(const Reshape& op, const Call& call);
std::vector<RefValue> evaluate(const Transpose& op, const Call& call);
std::vector<RefValue> evaluate(const Slice& op, const Call& call);
std::vector<RefValue> evaluate(const Concat& op, const Call& call);
std::vector<RefValue> evaluate(const Pad& op, const Call& call);
std::vector<RefValue> evaluate(const ReverseSequence& op, const Call& call);
std::vector<RefValue> evaluate(const Gather& op, const Call& call);
std::vector<RefValue> evaluate(const GatherElements& op, const Call& call);
std::vector<RefValue> evaluate(const GatherNd& op, const Call& call);
std::vector<RefValue> evaluate(const ScatterElements& op, const Call& call);
std::vector<RefValue> evaluate(const ScatterNd& op, const Call& call);
std::vector<RefValue> evaluate(const TopK& op, const Call& call);
std::vector<RefValue> evaluate(const NonZero& op, const Call& call);
std::vector<RefValue> evaluate(const Nms& op, const Call& call);
std::vector<RefValue> evaluate(const PackTokens& op, const Call& call);
std::vector<RefValue> evaluate(const If& op, const Call& call);
std::vector<RefValue> evaluate(const Loop& op, const Call& call);
std::vector<RefValue> evaluate(const Scan& op, const Call& call);
std::vector<RefValue> evaluate(const Sequence& op, const Call& call);
std::vector<RefValue> evaluate(const Extern& op, const Call& call);

}  // namespace lathe::reference
