// The CPU backend: lowers nodes to kernels of one instruction set. Kernels compute in f32; legalize() widens f16 and
// bf16 graphs to it (weights stay narrow in the model file and are widened when packed), since no kernel multiplies
// halves yet.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "base/cpu_features.h"

namespace lathe::cpu {

struct KernelTable;

// Kernels of `isa`, which the machine must have. `uniform`: see BackendOptions::uniform_rows.
std::unique_ptr<Backend> make_cpu_backend(Isa isa, bool uniform = false);

}  // namespace lathe::cpu
