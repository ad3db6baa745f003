#include "onnx/constant_fold.h"

#include <unordered_map>

#include "graph/reference/evaluator.h"

namespace lathe::onnx {
namespace {

constexpr int64_t kMaxElements = 1 << 16;
constexpr int kMaxNodes = 256;

class Folder {
 public:
  std::optional<Tensor> fold(const Value* value) {
    if (const auto it = known_.find(value); it != known_.end()) return it->second;
    const Node* node = value->producer();
    if (node == nullptr || !small(value->type()) || ++visited_ > kMaxNodes) return std::nullopt;
    std::optional<Tensor> result = evaluate(*node, value->index());
    known_.emplace(value, result);
    return result;
  }

 private:
  static bool small(const Type& type) {
    if (!type.is_tensor() || !type.ranked) return false;
    const Dim count = product(type.shape);
    return count.is_constant() && count.value() <= kMaxElements;
  }

  // Regions are left to the passes: folding here is for the odd axes tensor.
  std::optional<Tensor> evaluate(const Node& node, size_t output) {
    if (const auto* constant = node.as<Constant>()) return constant->value;
    if (!regions_of(node.op()).empty()) return std::nullopt;
    std::vector<RefValue> operands;
    for (const Value* input : node.inputs()) {
      const auto tensor = input == nullptr ? std::optional<Tensor>() : fold(input);
      if (input != nullptr && !tensor) return std::nullopt;
      operands.push_back(tensor ? RefValue(*tensor) : RefValue());
    }
    std::vector<const RefValue*> pointers;
    for (size_t i = 0; i < operands.size(); ++i) pointers.push_back(node.input(i) == nullptr ? nullptr : &operands[i]);
    SymbolBindings symbols;
    try {
      std::vector<RefValue> results = evaluate_op(node.op(), pointers, node.outputs().size(), symbols);
      if (auto* tensor = std::get_if<Tensor>(&results.at(output))) return std::move(*tensor);
    } catch (const Error& e) {
      if (e.code() == ErrorCode::internal) throw;
      // A size that is not known yet, or values that do not fit: then it is not a constant.
    }
    return std::nullopt;
  }

  std::unordered_map<const Value*, std::optional<Tensor>> known_;
  int visited_ = 0;
};

}  // namespace

std::optional<Tensor> fold_constant(const Value* value) { return Folder().fold(value); }

}  // namespace lathe::onnx
