// Where the heads of a query, key or value lie, found from strides: any spelling of "split the columns into heads" ends
// as one of the orders of graph/ops/attention.h, or, where it does not, as the moved value itself.
#pragma once

#include <optional>

#include "graph/graph.h"
#include "passes/view.h"

namespace lathe::passes {

// The logical axes of one operand, as far as the match knows them.
struct HeadAxes {
  Dim batch;
  Dim heads;   // of the scores; the operand may have fewer, shared ones
  Dim length;  // tokens
  Dim features;
};

struct AttentionOperand {
  Value* base = nullptr;
  Shape shape;  // that base must be given
  HeadOrder order = HeadOrder::token_major;
  int64_t heads = 1, offset = 0, stride = 0;
  double scale = 1;
};

// `value` is [leading.., length, features], or [leading.., features, length] if `swapped`; the leading axes are batch
// and heads, joined or apart. `scaled`: a multiplication by a number may be taken out. nullopt if sizes do not work
// out.
std::optional<AttentionOperand> attention_operand(Value* value, bool swapped, const HeadAxes& axes, bool scaled);

}  // namespace lathe::passes
