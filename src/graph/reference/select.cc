// Top-k, non-zero positions, tokens worth computing, non-maximum suppression.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "graph/reference/families.h"
#include "graph/reference/indexing.h"
#include "graph/token_packing.h"

namespace lathe::reference {
namespace {

// A total order in which NaN is above every number.
template <class W>
bool is_above(W a, W b) {
  if (a != a || b != b) return a != a && b == b;
  return a > b;
}

template <class W>
std::vector<int64_t> top_positions(const std::vector<W>& values, const AxisSplit& split, int64_t k, bool largest) {
  std::vector<int64_t> positions(static_cast<size_t>(split.outer * k * split.inner));
  std::vector<int64_t> order(static_cast<size_t>(split.size));
  for (int64_t outer = 0; outer < split.outer; ++outer) {
    for (int64_t inner = 0; inner < split.inner; ++inner) {
      const auto at = [&](int64_t i) {
        return values[static_cast<size_t>((outer * split.size + i) * split.inner + inner)];
      };
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return largest ? is_above(at(a), at(b)) : is_above(at(b), at(a)); });
      for (int64_t i = 0; i < k; ++i)
        positions[static_cast<size_t>((outer * k + i) * split.inner + inner)] = order[static_cast<size_t>(i)];
    }
  }
  return positions;
}

bool is_zero(const Tensor& x, int64_t i) {
  if (x.dtype() == DType::string) return x.strings()[static_cast<size_t>(i)].empty();
  return x.read_double(i) == 0;
}

struct Box {
  double left, bottom, right, top;  // along the two axes of the image, whichever is which

  Box(const double* numbers, bool center_point) {
    if (center_point) {
      left = numbers[0] - numbers[2] / 2, right = numbers[0] + numbers[2] / 2;
      bottom = numbers[1] - numbers[3] / 2, top = numbers[1] + numbers[3] / 2;
    } else {  // any two opposite corners
      std::tie(left, right) = std::minmax(numbers[0], numbers[2]);
      std::tie(bottom, top) = std::minmax(numbers[1], numbers[3]);
    }
  }
  double area() const { return (right - left) * (top - bottom); }
};

// Intersection over union; 0 when either is empty.
double overlap(const Box& a, const Box& b) {
  const double width = std::min(a.right, b.right) - std::max(a.left, b.left);
  const double height = std::min(a.top, b.top) - std::max(a.bottom, b.bottom);
  if (width <= 0 || height <= 0 || a.area() <= 0 || b.area() <= 0) return 0;
  return width * height / (a.area() + b.area() - width * height);
}

// Boxes of one class, best first, without those that overlap a better one.
std::vector<int64_t> suppress(const Nms& op, const std::vector<Box>& boxes, const double* scores, int64_t limit) {
  std::vector<int64_t> candidates;
  for (size_t i = 0; i < boxes.size(); ++i)
    if (op.score_threshold ? scores[i] > *op.score_threshold : !std::isnan(scores[i]))
      candidates.push_back(static_cast<int64_t>(i));
  std::stable_sort(candidates.begin(), candidates.end(), [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  std::vector<int64_t> selected;
  for (const int64_t candidate : candidates) {
    if (static_cast<int64_t>(selected.size()) >= limit) break;
    const bool suppressed = std::any_of(selected.begin(), selected.end(), [&](int64_t better) {
      return overlap(boxes[static_cast<size_t>(better)], boxes[static_cast<size_t>(candidate)]) > op.iou_threshold;
    });
    if (!suppressed) selected.push_back(candidate);
  }
  return selected;
}

}  // namespace

std::vector<RefValue> evaluate(const TopK& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  const size_t axis = resolve_axis(op.axis, x.rank());
  const AxisSplit split(x.dims(), axis);
  const int64_t k = call.symbols.evaluate(op.k);
  if (k < 0 || k > split.size)
    fail(ErrorCode::invalid_argument, "k = {} of {} elements along axis {} of shape {}", k, split.size, axis,
         to_string(x.dims()));
  const std::vector<int64_t> positions =
      visit_wide(x.dtype(), [&]<class W>() { return top_positions(read_wide<W>(x), split, k, op.largest); });
  Sizes sizes = x.dims();
  sizes[axis] = k;
  std::vector<int64_t> source(positions.size());
  for (size_t i = 0; i < source.size(); ++i) {
    const auto flat = static_cast<int64_t>(i);
    source[i] = (flat / (k * split.inner) * split.size + positions[i]) * split.inner + flat % split.inner;
  }
  return {pick(x, sizes, source), write_wide(DType::i64, sizes, positions)};
}

std::vector<RefValue> evaluate(const NonZero&, const Call& call) {
  const Tensor& x = call.tensor(0);
  std::vector<int64_t> found;
  for (int64_t i = 0; i < x.elements(); ++i)
    if (!is_zero(x, i)) found.push_back(i);
  const Sizes strides = row_major_strides(x.dims());
  std::vector<int64_t> positions;
  for (size_t axis = 0; axis < strides.size(); ++axis)
    for (const int64_t flat : found) positions.push_back(flat / strides[axis] % x.dims()[axis]);
  return {write_wide(DType::i64, {x.rank(), static_cast<int64_t>(found.size())}, positions)};
}

std::vector<RefValue> evaluate(const PackTokens& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  if (x.rank() != 2 || !can_be_mask(x.dtype()))
    fail(ErrorCode::invalid_model, "a mask of tokens cannot be {}{}", to_string(x.dtype()), to_string(x.dims()));
  const TokenMask mask{x.dtype(), x.bytes().data(), x.dims()[0], x.dims()[1]};
  Tensor tokens(DType::i32, {packed_size(op, mask)}), starts(DType::i32, {mask.batch + 2}), rows(DType::i32, x.dims());
  pack_tokens(op, mask, tokens.mutable_as<int32_t>(), starts.mutable_as<int32_t>(), rows.mutable_as<int32_t>());
  return {std::move(tokens), std::move(starts), std::move(rows)};
}

std::vector<RefValue> evaluate(const Nms& op, const Call& call) {
  const Tensor &boxes = call.tensor(0), &scores = call.tensor(1);
  const Sizes &b = boxes.dims(), &s = scores.dims();
  if (b.size() != 3 || s.size() != 3 || b[2] != 4 || b[0] != s[0] || b[1] != s[2])
    fail(ErrorCode::invalid_argument, "boxes of shape {} and scores of shape {} do not fit", to_string(b),
         to_string(s));
  const int64_t limit = call.symbols.evaluate(op.max_per_class);
  const std::vector<double> corners = read_wide<double>(boxes), values = read_wide<double>(scores);
  std::vector<int64_t> selected;
  for (int64_t batch = 0; batch < b[0]; ++batch) {
    std::vector<Box> image;
    for (int64_t i = 0; i < b[1]; ++i) image.emplace_back(corners.data() + (batch * b[1] + i) * 4, op.center_point);
    for (int64_t c = 0; c < s[1]; ++c)
      for (const int64_t box : suppress(op, image, values.data() + (batch * s[1] + c) * s[2], limit))
        selected.insert(selected.end(), {batch, c, box});
  }
  const auto count = static_cast<int64_t>(selected.size()) / 3;
  return {write_wide(DType::i64, {count, 3}, selected)};
}

}  // namespace lathe::reference
