#include "backends/cpu/lower/rounded_operands.h"

#include "backends/cpu/lower/matmul_int8.h"
#include "graph/constant.h"

namespace lathe::cpu {
namespace {

bool rounds_activations(const Node& node) {
  if (const auto* product = node.as<MatMulNBits>()) return product->round_rows;
  if (!node.is<MatMul>()) return false;
  return multiplies_bytes(node) || (is_constant(node.input(1)) && node.input(1)->dtype() == DType::bf16);
}

bool keeps_values_or_scale(const Node& node) {
  return node.is<Rotary>() || node.is<Norm>() || node.is<Reshape>() || node.is<Transpose>() || node.is<Slice>();
}

constexpr size_t kOperands = 3;  // queries, keys, values

// Their own error then is as large as what rounding them to bf16 adds.
bool come_out_of_rounded_products(const Node& node) {
  for (size_t i = 0; i < kOperands; ++i) {
    const Node* from = node.input(i)->producer();
    while (from != nullptr && keeps_values_or_scale(*from)) from = from->input(0)->producer();
    if (from == nullptr || !rounds_activations(*from)) return false;
  }
  return true;
}

}  // namespace

std::string why_not_bf16(const Node& node, const Target& target) {
  if (target.uniform) return "how it sums depends on the rows";
  if (target.bf16 == nullptr) return "this machine multiplies f32 as fast as bf16";
  return come_out_of_rounded_products(node) ? "" : "an operand has more than the accuracy of bf16";
}

}  // namespace lathe::cpu
