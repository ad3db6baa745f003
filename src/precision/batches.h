// The inputs on which accuracy is measured and ranges are calibrated.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "graph/tensor.h"

namespace lathe::precision {

using Batch = std::map<std::string, Tensor>;  // by input
using Batches = std::vector<Batch>;

}  // namespace lathe::precision
