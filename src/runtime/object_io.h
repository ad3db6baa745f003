// Values that travel as objects between a caller and the executor (wiring.h): tensors of strings, sequences and
// optionals. An object owns copies of what the caller gave, since results of the run may share its tensors.
#pragma once

#include <memory>
#include <string_view>

#include "graph/type.h"
#include "lathe/lathe.h"

namespace lathe {

// Throws Error(invalid_argument), which names the input, unless it is a tensor whose sizes and elements make sense.
void check_tensor(const Input& input, std::string_view name);

// The object, a RefValue, of an input of this type. Throws Error(invalid_argument) when the input does not fit the
// type.
std::shared_ptr<const void> to_object(const Input& input, const Type& type);

// Lets an output show an object, which must outlive it.
void show_object(const void* object, Output& output);

}  // namespace lathe
