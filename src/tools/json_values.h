// Values of models in JSON, for people and scripts. A tensor is a number or string, or lists of lists of them; NaN and
// infinities are the strings "nan", "inf" and "-inf". A sequence is a list of tensors, a map an object, a sequence of
// maps a list of objects, an optional without value null. Element types are those of the model.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "graph/graph.h"
#include "lathe/lathe.h"
#include "tools/random_inputs.h"

namespace lathe::tools {

// Adds the input that a file holds or, where `input` is empty, those that its object names. Throws Error that names
// file and input when they do not fit the model.
void load_json(const Graph& graph, const std::filesystem::path& path, const std::string& input, Tensors& tensors);

// An object with what is there of these inputs or outputs.
nlohmann::json to_json(std::span<const TensorInfo> infos, const Tensors& tensors);

}  // namespace lathe::tools
