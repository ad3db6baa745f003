// Kernels of the map interpreter (map_vm.h): one function per operation and type, over a block of elements. Registers
// hold float for f32, f16 and bf16, the native type for the rest, one byte (0 or 1) for bool.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "graph/map_op.h"

namespace lathe::cpu {

// out[i] = op(a[i], b[i], c[i]) for i < n; operands beyond the arity are ignored. out may be one of the operands.
using MapFn = void (*)(void* out, const void* a, const void* b, const void* c, int64_t n) noexcept;

struct MapKernels {
  // For arithmetic, comparison, logic and select on registers of `type` (the operands' type; for select that of the two
  // values). nullptr when there is none.
  MapFn (*find)(MapOp op, DType type) noexcept;
  // Register to register; `saturate` matters between integers. To f16 and bf16 the value is rounded but stays a float.
  MapFn (*convert)(DType from, DType to, bool saturate) noexcept;
  // Memory to register and back, for the types whose registers differ from memory (f16, bf16).
  MapFn (*load)(DType type) noexcept;
  MapFn (*store)(DType type) noexcept;
};

}  // namespace lathe::cpu
