// Decides the sizes of a model's inputs: what the user said, and for symbols nobody spoke of a sensible default (one
// batch row, a sequence of 128, or one new token behind a past of 127; pictures of 224 x 224), never beyond what a
// table inside the model allows. Which defaults were taken is part of the answer, so that they can be shown.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "tools/shape_args.h"

namespace lathe::tools {

using Sizes = std::map<std::string, std::vector<int64_t>>;  // by input name

struct ChosenSizes {
  Sizes inputs;                            // of a sequence: those of its tensors
  std::map<std::string, int64_t> symbols;  // all that sizes of inputs mention
  std::vector<DimArg> assumed;             // the symbols that got a default
};

// `given` are sizes that are settled already, such as those of loaded arrays; then come shapes, then dims. Throws
// Error(invalid_argument) when a name, a rank or a fixed size does not fit the model, or two of them contradict.
ChosenSizes choose_sizes(const Graph& graph, const Sizes& given, std::span<const ShapeArg> shapes,
                         std::span<const DimArg> dims);

// The profiles that the arguments make. Throws likewise when the model cannot take one of their sizes.
std::vector<Profile> make_profiles(const Graph& graph, std::span<const ProfileArg> args);

// The sizes that a profile is tuned for.
Sizes usual_sizes(const Profile& profile);

// "batch=1 sequence=128"
std::string to_string(std::span<const DimArg> dims);

}  // namespace lathe::tools
