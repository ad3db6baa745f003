// Rare operators that run on the host and are not worth a place in the closed set: irregular sampling, sets, strings.
#pragma once

#include "graph/ops/field_types.h"

namespace lathe {

// (operands..) -> results, as the row `kernel` of the table in graph/externs/table.h says: the row holds the shape rule
// and the evaluation, and its comment what the operands and the entries of the lists mean. No pass looks inside.
struct Extern {
  static constexpr std::string_view kName = "extern";
  std::string kernel;
  std::vector<int64_t> integers;
  std::vector<double> numbers;
  std::vector<std::string> texts;
  Shape sizes;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("kernel", s.kernel);
    visit("integers", s.integers);
    visit("numbers", s.numbers);
    visit("texts", s.texts);
    visit("sizes", s.sizes);
  }
};

}  // namespace lathe
