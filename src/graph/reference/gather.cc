// Gather and scatter in all their forms.
#include "graph/reference/families.h"
#include "graph/reference/indexing.h"

namespace lathe::reference {
namespace {

// Flat positions in x that an index tensor of the same rank names along one axis.
std::vector<int64_t> element_positions(const Tensor& x, const Tensor& indices, int64_t along) {
  const size_t axis = resolve_axis(along, x.rank());
  if (indices.rank() != x.rank())
    fail(ErrorCode::invalid_argument, "indices of shape {} for shape {}", to_string(indices.dims()),
         to_string(x.dims()));
  for (size_t i = 0; i < x.dims().size(); ++i)
    if (i != axis && indices.dims()[i] > x.dims()[i])
      fail(ErrorCode::invalid_argument, "indices of shape {} exceed shape {}", to_string(indices.dims()),
           to_string(x.dims()));
  Sizes strides = row_major_strides(x.dims());
  const int64_t step = strides[axis];
  strides[axis] = 0;
  std::vector<int64_t> positions = offsets(indices.dims(), strides);
  for (size_t i = 0; i < positions.size(); ++i)
    positions[i] += resolve_index(indices.read_int(static_cast<int64_t>(i)), x.dims()[axis]) * step;
  return positions;
}

// The slices of x that the rows of an index tensor [.., n] name: a flat start for each row, and the slices' size.
struct SlicePositions {
  std::vector<int64_t> starts;
  Sizes slice;

  SlicePositions(const Tensor& x, const Tensor& indices, int64_t batch_dims) {
    const auto batch = static_cast<size_t>(batch_dims);
    if (batch_dims < 0 || indices.rank() <= batch_dims || x.rank() <= batch_dims)
      fail(ErrorCode::invalid_argument, "{} batch axes for shapes {} and {}", batch_dims, to_string(x.dims()),
           to_string(indices.dims()));
    const int64_t depth = indices.dims().back();
    if (depth > x.rank() - batch_dims)
      fail(ErrorCode::invalid_argument, "positions of {} numbers in shape {}", depth, to_string(x.dims()));
    const std::span<const int64_t> sizes = x.dims();
    slice.assign(sizes.begin() + batch_dims + depth, sizes.end());
    const Sizes strides = row_major_strides(sizes);
    const int64_t batches = product_of(sizes.first(batch)), batch_size = product_of(sizes.subspan(batch));
    const int64_t rows = product_of(std::span(indices.dims()).first(indices.dims().size() - 1));
    const int64_t rows_per_batch = batches == 0 ? 0 : rows / batches;
    for (int64_t row = 0; row < rows; ++row) {
      int64_t start = rows_per_batch == 0 ? 0 : row / rows_per_batch * batch_size;
      for (int64_t i = 0; i < depth; ++i) {
        const size_t axis = batch + static_cast<size_t>(i);
        start += resolve_index(indices.read_int(row * depth + i), sizes[axis]) * strides[axis];
      }
      starts.push_back(start);
    }
  }

  std::vector<int64_t> elements() const {
    std::vector<int64_t> result;
    const int64_t count = product_of(slice);
    for (const int64_t start : starts)
      for (int64_t i = 0; i < count; ++i) result.push_back(start + i);
    return result;
  }
};

template <class W>
W combine(ScatterReduction reduction, W old, W update) {
  switch (reduction) {
    case ScatterReduction::add: return plus(old, update);
    case ScatterReduction::mul: return times(old, update);
    case ScatterReduction::max: return old != old || update < old ? old : update;
    case ScatterReduction::min: return old != old || update > old ? old : update;
    case ScatterReduction::none: break;
  }
  return update;
}

// Several updates of one element accumulate in the wide type and are rounded once.
Tensor scatter(const Tensor& x, const std::vector<int64_t>& positions, const Tensor& updates,
               ScatterReduction reduction) {
  if (updates.elements() != static_cast<int64_t>(positions.size()))
    fail(ErrorCode::invalid_argument, "updates of shape {} for {} elements", to_string(updates.dims()),
         positions.size());
  if (updates.dtype() != x.dtype())
    fail(ErrorCode::invalid_model, "updates are {}, expected {}", to_string(updates.dtype()), to_string(x.dtype()));
  if (reduction == ScatterReduction::none) {
    Tensor y = x;
    put(y, positions, updates);
    return y;
  }
  return visit_wide(x.dtype(), [&]<class W>() {
    std::vector<W> values = read_wide<W>(x);
    const std::vector<W> changes = read_wide<W>(updates);
    for (size_t i = 0; i < positions.size(); ++i) {
      W& element = values[static_cast<size_t>(positions[i])];
      element = combine(reduction, element, changes[i]);
    }
    return write_wide(x.dtype(), x.dims(), values);
  });
}

}  // namespace

std::vector<RefValue> evaluate(const Gather& op, const Call& call) {
  const Tensor &x = call.tensor(0), &indices = call.tensor(1);
  const size_t axis = resolve_axis(op.axis, x.rank());
  const AxisSplit split(x.dims(), axis);
  Sizes sizes(x.dims().begin(), x.dims().begin() + static_cast<int64_t>(axis));
  sizes.insert(sizes.end(), indices.dims().begin(), indices.dims().end());
  sizes.insert(sizes.end(), x.dims().begin() + static_cast<int64_t>(axis) + 1, x.dims().end());
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < indices.elements(); ++i) rows.push_back(resolve_index(indices.read_int(i), split.size));
  std::vector<int64_t> source;
  source.reserve(static_cast<size_t>(product_of(sizes)));
  for (int64_t outer = 0; outer < split.outer; ++outer)
    for (const int64_t row : rows)
      for (int64_t inner = 0; inner < split.inner; ++inner)
        source.push_back((outer * split.size + row) * split.inner + inner);
  return {pick(x, std::move(sizes), source)};
}

std::vector<RefValue> evaluate(const GatherElements& op, const Call& call) {
  const Tensor &x = call.tensor(0), &indices = call.tensor(1);
  return {pick(x, indices.dims(), element_positions(x, indices, op.axis))};
}

std::vector<RefValue> evaluate(const GatherNd& op, const Call& call) {
  const Tensor &x = call.tensor(0), &indices = call.tensor(1);
  const SlicePositions positions(x, indices, op.batch_dims);
  Sizes sizes(indices.dims().begin(), indices.dims().end() - 1);
  sizes.insert(sizes.end(), positions.slice.begin(), positions.slice.end());
  return {pick(x, std::move(sizes), positions.elements())};
}

std::vector<RefValue> evaluate(const ScatterElements& op, const Call& call) {
  const Tensor &x = call.tensor(0), &indices = call.tensor(1);
  return {scatter(x, element_positions(x, indices, op.axis), call.tensor(2), op.reduction)};
}

std::vector<RefValue> evaluate(const ScatterNd& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  return {scatter(x, SlicePositions(x, call.tensor(1), 0).elements(), call.tensor(2), op.reduction)};
}

}  // namespace lathe::reference
