// The reference evaluator as a backend: runs any op, slowly, on host memory. It is `--device reference`, the second
// user of the backend interface, and what other backends fall back to.
#pragma once

#include <memory>

#include "backends/backend.h"

namespace lathe {

std::unique_ptr<Backend> make_reference_backend();

}  // namespace lathe
