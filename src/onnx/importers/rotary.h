// Rotary position embedding of activations in either layout.
#pragma once

#include "onnx/importers/context.h"

namespace lathe::onnx {

struct RotaryKind {
  int64_t width = 0;  // how many features of a head are rotated; 0: all
  bool interleaved = false;
};

// x is [batch, heads, seq, dim] or [batch, seq, heads * dim]; cos and sin are [batch or 1, seq, width / 2]. The result
// has x's layout.
Value* rotate_heads(Context& ctx, Value* x, Value* cos, Value* sin, int64_t heads, RotaryKind kind);

}  // namespace lathe::onnx
