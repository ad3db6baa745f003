// What an input of a model is for, found out from the graph that uses it and from its name: enough to make up data that
// the model accepts and that takes the paths which real data takes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "graph/graph.h"

namespace lathe::tools {

enum class InputRole {
  token_ids,    // rows of an embedding table, or anything else that indexes
  token_types,  // which segment a token belongs to
  mask,         // 1 for what counts
  positions,    // 0, 1, 2, ..
  lengths,      // how much of another axis counts
  values,       // plain numbers
};

// By name ("segment_ids" are token types), else by use: integers that pick rows from a table are token ids, from a
// table of a few rows token types; those that pick nothing are a mask, or a single one a length.
InputRole role_of(const Value& input);

// How many rows the tables have that `input` picks rows from, possibly behind casts, reshapes and the like, regions of
// control flow included: indices must be below it. The smallest, if there are several; nullopt when there is none.
std::optional<int64_t> indexed_rows(const Value& input);

// For symbols of input sizes, the largest value for which no slice or look-up of positions in a constant table leaves
// that table. A symbol without a limit is absent.
std::map<std::string, int64_t> symbol_limits(const Graph& graph);

}  // namespace lathe::tools
