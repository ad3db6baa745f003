// Moves outliers of activations into weights where that costs nothing: a norm divides column j of its result by s_j,
// in its scale and bias, and the products that read it multiply row j of their weights. The graph computes the same in
// f32; s_j = max|x_j|^a / max|w_j|^(1 - a) evens out what bytes must represent (Xiao et al., SmoothQuant, 2022).
#pragma once

#include "precision/apply.h"
#include "precision/batches.h"
#include "precision/calibration.h"
#include "precision/layers.h"
#include "precision/run.h"

namespace lathe::precision {

// Where a norm with constant parameters is read by 8-bit products alone. Columns of norms that `columns` knows are not
// measured again, others are added to it; a norm that has a range in `fixed` without them stays as it was when that was
// found. Returns how many norms were changed.
int smooth(Graph& graph, const std::vector<Layer>& layers, const RunOptions& options, const Batches& batches,
           double exponent, const Ranges& fixed, ColumnMaxima& columns);

}  // namespace lathe::precision
