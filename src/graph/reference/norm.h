// The normalisation of rows, for norm, group_norm and embedding.
#pragma once

#include <span>

#include "graph/ops/norm.h"
#include "graph/reference/indexing.h"

namespace lathe::reference {

// In place: each row of `width` values becomes (x - mean) / sqrt(var + epsilon), or x / sqrt(mean(x^2) + epsilon).
void normalise_rows(NormKind kind, double epsilon, std::span<double> values, int64_t width);

// In place: times scale plus bias (null: none), both of which broadcast to `row`, the sizes of one row.
void scale_rows(std::span<double> values, std::span<const int64_t> row, const Tensor* scale, const Tensor* bias);

}  // namespace lathe::reference
