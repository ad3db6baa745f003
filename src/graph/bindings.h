// The values that symbols have while a graph runs. A later binding hides an earlier one of the same name, so scopes
// nest: a region marks, binds the symbols of its own inputs anew, and rolls back to the mark when it is left.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/dim.h"

namespace lathe {

class SymbolBindings {
 public:
  // Throws Error(invalid_argument) when a name of a size (one that does not begin with '$') would become negative.
  void bind(std::string_view name, int64_t value);

  // The latest binding of the name, looking back no further than `oldest`, a result of mark(). Allocates nothing.
  std::optional<int64_t> find(std::string_view name, size_t oldest = 0) const;

  // rollback(mark()) drops what was bound in between.
  size_t mark() const { return entries_.size(); }
  void rollback(size_t mark) { entries_.resize(mark); }

  // Throws Error(not_found) that names the unbound symbol, or Error(invalid_argument) when the arithmetic fails.
  int64_t evaluate(const Dim& dim) const;
  std::vector<int64_t> evaluate(const Shape& shape) const;
  // nullopt where evaluate() throws. Allocates nothing.
  std::optional<int64_t> try_evaluate(const Dim& dim) const;

 private:
  struct Entry {
    std::string name;
    int64_t value = 0;
  };
  std::vector<Entry> entries_;
};

}  // namespace lathe
