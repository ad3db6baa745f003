// What the fields of ops are made of. Each op struct has a name and a static fields(self, visit) that calls
// visit("field", self.field) for every field: printing, parsing, equality, hashing and serialisation are all written
// once over it. Field types: bool, int64_t, double, std::string, DType, enums (see enum_names.h), Dim, Shape,
// MapProgram, Tensor, Region, std::vector of int64_t, double, std::string or enums, and std::optional of double or
// Shape.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "graph/dim.h"
