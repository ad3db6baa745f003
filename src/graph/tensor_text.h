// The values of tensors in the text form of graphs: "[2, 3] [1, 2, 3, 4, 5, 6]", "[8] splat(0.5)", "[8] random(seed)".
#pragma once

#include "graph/tensor.h"
#include "graph/text_cursor.h"

namespace lathe {

Tensor parse_tensor(TextCursor& cursor, DType type);

}  // namespace lathe
