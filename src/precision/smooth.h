// Moves outliers of activations into weights where that costs nothing: a norm divides column j of its result by s_j,
// in its scale and bias, and the products that read it multiply row j of their weights. The graph computes the same in
// f32; s_j = max|x_j|^a / max|w_j|^(1 - a) evens out what bytes must represent (Xiao et al., SmoothQuant, 2022).
#pragma once

#include "precision/batches.h"
#include "precision/layers.h"
#include "precision/run.h"

namespace lathe::precision {

// Where a norm with constant parameters is read by 8-bit products alone. Returns how many norms were changed.
int smooth(Graph& graph, const std::vector<Layer>& layers, const RunOptions& options, const Batches& batches,
           double exponent);

}  // namespace lathe::precision
