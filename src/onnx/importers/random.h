// Pseudo-random numbers as programs: the number of an element is a hash of its position and the seed. They need no
// state and no op of their own, are the same on every device and in every run, and are not the numbers that other
// runtimes draw. Who needs other ones in each run feeds them as an input.
#pragma once

#include "onnx/importers/context.h"

namespace lathe::onnx {

// A seed that no other node of the model gets.
uint32_t own_seed(const Context& ctx);

// The instruction of a f32 number that is uniform in [0, 1), for an index space of this shape.
int uniform_number(MapProgram& p, const Shape& shape, uint32_t seed);

}  // namespace lathe::onnx
