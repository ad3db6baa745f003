// What pack_tokens (graph/ops/pack_tokens.h) does on the host: for the evaluator, the CPU, and an executor that asks
// how many tokens there will be before the run begins.
#pragma once

#include <cstdint>
#include <span>

#include "graph/bindings.h"
#include "graph/graph.h"

namespace lathe {

// Where an embedding has the list of the ids that it picks.
inline size_t picked_operand(const Embedding& op) { return 2 * static_cast<size_t>(op.num_tables) + 2; }

bool can_be_mask(DType type);

struct TokenMask {
  DType dtype = DType::i64;  // one of which can_be_mask() is true
  const void* data = nullptr;
  int64_t batch = 0, length = 0;
};

// T for so many kept tokens of a batch: no more than batch * length, and less than `length` above `kept`.
int64_t packed_size(int64_t kept, int64_t batch, int64_t length);
// T for this mask.
int64_t packed_size(const PackTokens& op, const TokenMask& mask);
// Fills the results; tokens.size() is T. Throws Error(invalid_argument) when it is not, or when the batch is too large
// to be counted in 32 bits.
void pack_tokens(const PackTokens& op, const TokenMask& mask, std::span<int32_t> tokens, std::span<int32_t> starts,
                 std::span<int32_t> rows);

// Binds the symbol of T as if every token were kept, for estimates made without data; of any other node, nothing.
void bind_all_tokens(const Node& node, SymbolBindings& symbols);
void bind_all_tokens(const Graph& graph, SymbolBindings& symbols);
// The same for half of them and `more`, as in batches whose lengths vary. False where no tokens are packed.
bool bind_half_of_tokens(const Graph& graph, SymbolBindings& symbols, int64_t more);

}  // namespace lathe
