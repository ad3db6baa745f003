// Softmax and log-softmax.
#include "graph/reference/softmax.h"

#include "graph/reference/families.h"
#include "graph/reference/indexing.h"

namespace lathe::reference {

std::vector<RefValue> evaluate(const Softmax& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  const AxisSplit split(x.dims(), resolve_axis(op.axis, x.rank()));
  std::vector<double> values = read_wide<double>(x), row(static_cast<size_t>(split.size));
  for (int64_t outer = 0; outer < split.outer; ++outer) {
    for (int64_t inner = 0; inner < split.inner; ++inner) {
      double* first = values.data() + outer * split.size * split.inner + inner;
      for (size_t i = 0; i < row.size(); ++i) row[i] = first[static_cast<int64_t>(i) * split.inner];
      softmax_row(row, op.log, op.safe);
      for (size_t i = 0; i < row.size(); ++i) first[static_cast<int64_t>(i) * split.inner] = row[i];
    }
  }
  return {write_wide(x.dtype(), x.dims(), values)};
}

}  // namespace lathe::reference
