// Which symbols ops and types mention, and which ones a node brings into being.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace lathe {

// Each adds the names that are not in `names` yet.
void collect_symbols(const Type& type, std::vector<std::string>& names);
// Of the op's fields. Of a region: whatever its types and ops mention, its own symbols included.
void collect_symbols(const Op& op, std::vector<std::string>& names);

// The symbols that the node gives a value at run time: those of a bind, and those in the output types that neither the
// operand types nor the op mention (the number of non-zero elements, say).
std::vector<std::string> symbols_bound_by(const Node& node);

}  // namespace lathe
