// Reshape, transpose, slice, concat, pad, reverse_sequence: each works out where every element comes from, or goes to.
#include "graph/reference/movement.h"

#include <algorithm>
#include <numeric>

#include "graph/reference/families.h"
#include "graph/reference/indexing.h"

namespace lathe::reference {
namespace {

// x's element along one axis for element `i` of the padded axis; kFill outside in constant mode.
int64_t padded_source(PadMode mode, int64_t i, int64_t size) {
  if (i >= 0 && i < size) return i;
  if (mode == PadMode::constant) return kFill;
  if (size == 0) fail(ErrorCode::invalid_argument, "an axis of 0 elements has nothing to pad with");
  if (mode == PadMode::edge) return std::clamp<int64_t>(i, 0, size - 1);
  const int64_t period = mode == PadMode::wrap ? size : std::max<int64_t>(2 * size - 2, 1);
  const int64_t wrapped = ((i % period) + period) % period;
  return wrapped < size ? wrapped : period - wrapped;  // the way back of a reflection
}

Tensor move_channels(const Tensor& x, int64_t from, int64_t to) {
  std::vector<int64_t> perm(static_cast<size_t>(x.rank()));
  std::iota(perm.begin(), perm.end(), 0);
  perm.erase(perm.begin() + from);
  perm.insert(perm.begin() + to, from);
  return transpose(x, perm);
}

}  // namespace

Tensor transpose(const Tensor& x, std::span<const int64_t> perm) {
  if (perm.size() != x.dims().size())
    fail(ErrorCode::invalid_model, "a permutation of {} axes for shape {}", perm.size(), to_string(x.dims()));
  const Sizes strides = row_major_strides(x.dims());
  Sizes sizes, steps;
  for (const int64_t p : perm) {
    const size_t axis = resolve_axis(p, x.rank());
    sizes.push_back(x.dims()[axis]);
    steps.push_back(strides[axis]);
  }
  const std::vector<int64_t> source = offsets(sizes, steps);
  return pick(x, std::move(sizes), source);
}

Tensor to_channels_last(const Tensor& x) { return move_channels(x, 1, x.rank() - 1); }
Tensor to_channels_first(const Tensor& x) { return move_channels(x, x.rank() - 1, 1); }

Tensor slice(const Tensor& x, size_t axis, int64_t start, int64_t count, int64_t step) {
  const int64_t size = x.dims()[axis], last = start + (count - 1) * step;
  if (count < 0 || (count > 0 && (start < 0 || start >= size || last < 0 || last >= size)))
    fail(ErrorCode::invalid_argument, "{} elements from {} with step {} lie outside axis {} of shape {}", count, start,
         step, axis, to_string(x.dims()));
  Sizes sizes = x.dims(), strides = row_major_strides(x.dims());
  const int64_t offset = count > 0 ? start * strides[axis] : 0;
  sizes[axis] = count;
  strides[axis] *= step;
  const std::vector<int64_t> source = offsets(sizes, strides, offset);
  return pick(x, std::move(sizes), source);
}

Tensor concat(std::span<const Tensor> parts, size_t axis) {
  Sizes sizes = parts.front().dims();
  sizes[axis] = 0;
  for (const Tensor& part : parts) {
    Sizes rest = part.dims();
    if (rest.size() == sizes.size()) rest[axis] = sizes[axis];
    if (rest != sizes)
      fail(ErrorCode::invalid_argument, "shapes {} and {} do not join along axis {}", to_string(parts.front().dims()),
           to_string(part.dims()), axis);
    sizes[axis] += part.dims()[axis];
  }
  Tensor y(parts.front().dtype(), sizes);
  const Sizes strides = row_major_strides(sizes);
  int64_t start = 0;
  for (const Tensor& part : parts) {
    put(y, offsets(part.dims(), strides, start), part);
    start += part.dims()[axis] * strides[axis];
  }
  return y;
}

Tensor stack(std::span<const Tensor> parts, size_t axis) {
  std::vector<Tensor> slices;
  for (const Tensor& part : parts) slices.push_back(insert_axis(part, axis));
  return concat(slices, axis);
}

Tensor insert_axis(const Tensor& x, size_t axis) {
  Sizes sizes = x.dims();
  sizes.insert(sizes.begin() + static_cast<int64_t>(axis), 1);
  return x.reshaped(std::move(sizes));
}

Tensor remove_axis(const Tensor& x, size_t axis) {
  Sizes sizes = x.dims();
  sizes.erase(sizes.begin() + static_cast<int64_t>(axis));
  return x.reshaped(std::move(sizes));
}

std::vector<RefValue> evaluate(const Reshape& op, const Call& call) {
  return {call.tensor(0).reshaped(call.symbols.evaluate(op.shape))};
}

std::vector<RefValue> evaluate(const Transpose& op, const Call& call) { return {transpose(call.tensor(0), op.perm)}; }

std::vector<RefValue> evaluate(const Slice& op, const Call& call) {
  Tensor y = call.tensor(0);
  for (size_t i = 0; i < op.axes.size(); ++i)
    y = slice(y, resolve_axis(op.axes[i], y.rank()), call.symbols.evaluate(op.starts[i]),
              call.symbols.evaluate(op.sizes[i]), op.steps[i]);
  return {std::move(y)};
}

std::vector<RefValue> evaluate(const Concat& op, const Call& call) {
  std::vector<Tensor> parts;
  for (const Tensor* part : call.tensors_from(0)) parts.push_back(*part);
  if (parts.empty()) fail(ErrorCode::invalid_model, "nothing to join");
  return {concat(parts, resolve_axis(op.axis, parts[0].rank()))};
}

std::vector<RefValue> evaluate(const Pad& op, const Call& call) {
  Tensor y = call.tensor(0);
  const Tensor* fill = call.optional_tensor(1);
  const Sizes begins = call.symbols.evaluate(op.begins), ends = call.symbols.evaluate(op.ends);
  if (begins.size() != y.dims().size() || ends.size() != y.dims().size())
    fail(ErrorCode::invalid_model, "{} begins and {} ends for shape {}", begins.size(), ends.size(),
         to_string(y.dims()));
  for (size_t axis = 0; axis < begins.size(); ++axis) {
    const AxisSplit split(y.dims(), axis);
    Sizes sizes = y.dims();
    sizes[axis] = split.size + begins[axis] + ends[axis];
    if (sizes[axis] == split.size && begins[axis] == 0) continue;
    if (sizes[axis] < 0)
      fail(ErrorCode::invalid_argument, "axis {} of {} elements cannot be cropped by {}", axis, split.size,
           -begins[axis] - ends[axis]);
    std::vector<int64_t> source;
    for (int64_t outer = 0; outer < split.outer; ++outer) {
      for (int64_t i = 0; i < sizes[axis]; ++i) {
        const int64_t from = split.outer * split.inner == 0 ? 0 : padded_source(op.mode, i - begins[axis], split.size);
        for (int64_t inner = 0; inner < split.inner; ++inner)
          source.push_back(from == kFill ? kFill : (outer * split.size + from) * split.inner + inner);
      }
    }
    y = pick(y, std::move(sizes), source, fill);
  }
  return {std::move(y)};
}

std::vector<RefValue> evaluate(const ReverseSequence& op, const Call& call) {
  const Tensor &x = call.tensor(0), &lengths = call.tensor(1);
  const size_t batch_axis = resolve_axis(op.batch_axis, x.rank()), time_axis = resolve_axis(op.time_axis, x.rank());
  const int64_t batches = x.dims()[batch_axis], steps = x.dims()[time_axis];
  if (lengths.elements() != batches)
    fail(ErrorCode::invalid_argument, "{} lengths for {} sequences", lengths.elements(), batches);
  const Sizes strides = row_major_strides(x.dims());
  std::vector<int64_t> source(static_cast<size_t>(x.elements()));
  for (size_t i = 0; i < source.size(); ++i) {
    const auto flat = static_cast<int64_t>(i);
    const int64_t time = flat / strides[time_axis] % steps;
    const int64_t length = lengths.read_int(flat / strides[batch_axis] % batches);
    if (length < 0 || length > steps) fail(ErrorCode::invalid_argument, "a length of {} in {} steps", length, steps);
    source[i] = time < length ? flat + (length - 1 - 2 * time) * strides[time_axis] : flat;
  }
  return {pick(x, x.dims(), source)};
}

}  // namespace lathe::reference
