// How the tools keep what models take and give: as tensors with names. A sequence is NAME.0, NAME.1, .. and
// NAME.length, which says whether there is an empty one or, of an optional, none; a map is NAME.keys and NAME.values,
// as it is for sessions.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "lathe/lathe.h"
#include "tools/random_inputs.h"

namespace lathe::tools {

bool is_sequence(const Type& type);
bool is_optional(const Type& type);

std::string element_name(std::string_view sequence, size_t index);
std::string length_name(std::string_view sequence);
// Elements of a sequence; nullopt when it is not there.
std::optional<size_t> length_of(std::string_view sequence, const Tensors& tensors);

// The name of a map, of which this is the name of the values; empty for any other name.
std::string map_of_values(std::string_view name);
std::string keys_name(std::string_view map);

// The input that a tensor of this name is, or is part of; null when there is none.
const Value* find_input(const Graph& graph, std::string_view name);

// The tensors as a session takes them; they point into `tensors`. An optional that is not among them is nothing.
std::vector<Input> as_inputs(const Engine& engine, const Tensors& tensors);
// Copies of what a session returned.
Tensors to_tensors(std::span<const Output> outputs);

}  // namespace lathe::tools
