// Which nodes compute each token of a [batch, length, ..] tensor from that token alone, so that they may run on any
// list of tokens: on [1, T, ..]. pack_tokens.cc puts them there.
#pragma once

#include <optional>
#include <vector>

#include "graph/graph.h"

namespace lathe::passes {

struct TokenAxes {
  Dim batch, length;
};

// How an operand lies along the tokens of the result.
enum class TokenUse : uint8_t {
  whole,     // it has neither axis: every token reads it as it is
  tokens,    // [batch, length, ..]: each token has its own
  positions  // [.., length, ..]: each place in a sequence has its own
};

// Whether a tensor's first two axes are those of tokens.
bool is_token_tensor(const Value* value, const TokenAxes& axes);

// By operand (absent ones are `whole`); nullopt when the node is not of that kind. Attention is not.
std::optional<std::vector<TokenUse>> token_uses(const Node& node, const TokenAxes& axes);

// The op on [1, tokens, ..].
Op on_tokens(Op op, const Dim& tokens);

}  // namespace lathe::passes
