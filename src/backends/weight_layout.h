// How the bytes of a weight are arranged in a plan. A layout names a packing scheme of a backend and its parameters;
// the packing must be invertible, so that a plan can be lowered again for another machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lathe {

struct WeightLayout {
  std::string scheme;           // empty: plain row-major
  std::vector<int64_t> params;  // of the scheme, such as a panel width

  bool plain() const { return scheme.empty(); }
  friend bool operator==(const WeightLayout& a, const WeightLayout& b) = default;
};

}  // namespace lathe
