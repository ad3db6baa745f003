// Profiles: the sizes for which a plan is tuned and for which sessions set memory aside. They never limit what a plan
// can run.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graph/bindings.h"
#include "graph/graph.h"

namespace lathe {

// Smallest, usual and largest sizes of one input.
struct SizeRange {
  std::vector<int64_t> min, opt, max;
  friend bool operator==(const SizeRange&, const SizeRange&) = default;
};
using Profile = std::map<std::string, SizeRange>;  // by input name

// The symbols that stand alone in inputs of these sizes, and those of packed tokens as if all were kept. Throws
// Error(invalid_argument) when the profile names an unknown input or does not fit one.
SymbolBindings bind_profile(const Graph& graph, const Profile& profile, std::vector<int64_t> SizeRange::*which);

// The sizes of every input; nullopt when the profile leaves one open.
std::optional<std::vector<std::vector<int64_t>>> input_sizes(const Graph& graph, const Profile& profile,
                                                             std::vector<int64_t> SizeRange::*which);

}  // namespace lathe
