// What products and convolutions have in common: a program that finishes each element of the result, over the product
// and the operands behind the factors.
#pragma once

#include "graph/graph.h"

namespace lathe {

// Null for ops that have none.
inline MapProgram* epilogue_of(Op& op) {
  if (auto* m = std::get_if<MatMul>(&op)) return &m->epilogue;
  if (auto* m = std::get_if<MatMulNBits>(&op)) return &m->epilogue;
  if (auto* c = std::get_if<Conv>(&op)) return &c->epilogue;
  if (auto* c = std::get_if<ConvTranspose>(&op)) return &c->epilogue;
  return nullptr;
}
inline const MapProgram* epilogue_of(const Op& op) { return epilogue_of(const_cast<Op&>(op)); }

// The operands of a product before those of its epilogue.
inline size_t num_factors(const Op& op) { return std::holds_alternative<MatMulNBits>(op) ? kNBitsOperands : 2; }

}  // namespace lathe
