// Reads the padding mask of an attention: the input of the model that says which keys are padding.
#pragma once

#include <optional>

#include "passes/token_rows.h"

namespace lathe::passes {

struct PaddingMask {
  Value* input = nullptr;  // [batch, length]
  int64_t kept = 1;        // its element where a key is seen; 1 - kept where not
  TokenAxes axes;
  friend bool operator==(const PaddingMask& a, const PaddingMask& b) {
    return a.input == b.input && a.kept == b.kept && a.axes.batch == b.axes.batch && a.axes.length == b.axes.length;
  }
};

// nullopt unless the node is an attention of all tokens of each sequence to each other whose score, proven by algebra,
// falls by so much where the mask says padding that such a key weighs nothing beside any that is seen, and depends on
// no other property of a pair of tokens than the key.
std::optional<PaddingMask> padding_mask(const Node& node);

// How operand `i` of such an attention, one that the score reads, lies along the keys.
std::optional<TokenUse> key_use(const Node& attention, size_t i, const TokenAxes& axes);

}  // namespace lathe::passes
