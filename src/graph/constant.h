// Which values are known before a model runs.
#pragma once

#include "graph/graph.h"

namespace lathe {

inline bool is_constant(const Value* value) {
  return value != nullptr && value->producer() != nullptr && value->producer()->is<Constant>();
}

}  // namespace lathe
