// Whether attention may round its operands to bf16: where they come out of products whose activations were rounded to
// bf16 or to bytes, turned, normalised or moved since.
#pragma once

#include <string>

#include "backends/cpu/lower/lower.h"

namespace lathe::cpu {

// Why attention over these operands, queries, keys and values, is not computed in bf16; empty: it is.
std::string why_not_bf16(const Node& node, const Target& target);

}  // namespace lathe::cpu
