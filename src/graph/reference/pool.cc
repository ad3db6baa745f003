// Max, average and lp pooling.
#include <cmath>
#include <limits>

#include "graph/reference/families.h"
#include "graph/reference/movement.h"
#include "graph/reference/sliding.h"

namespace lathe::reference {
namespace {

struct Windows {
  std::vector<SlidingAxis> axes;
  Sizes pads, in, out;
  int64_t planes = 0;  // batch * channels

  Windows(const Pool& op, const Tensor& x, const SymbolBindings& symbols) : pads(symbols.evaluate(op.pads)) {
    if (x.rank() < 3 || op.kernel.size() + 2 != x.dims().size())
      fail(ErrorCode::invalid_model, "a window of {} axes for shape {}", op.kernel.size(), to_string(x.dims()));
    const size_t spatial = op.kernel.size();
    check_spatial(spatial, op.strides, op.dilations, pads);
    planes = x.dims()[0] * x.dims()[1];
    in.assign(x.dims().begin() + 2, x.dims().end());
    for (size_t i = 0; i < spatial; ++i) {
      out.push_back(count(op, i, in[i], pads[i], pads[spatial + i]));
      axes.push_back({out[i], in[i], op.strides[i]});
    }
  }

  static int64_t count(const Pool& op, size_t i, int64_t size, int64_t begin, int64_t end) {
    const int64_t room = size + begin + end - ((op.kernel[i] - 1) * op.dilations[i] + 1), stride = op.strides[i];
    if (!op.ceil_mode) return room < 0 ? 0 : room / stride + 1;
    const int64_t windows = room < 0 ? 1 - (-room) / stride : (room + stride - 1) / stride + 1;
    return std::max<int64_t>(std::min(windows, (size + begin + stride - 1) / stride), 0);
  }

  // For each window, how many of its positions lie in the padded input. What ceil_mode lets stick out does not count.
  std::vector<double> padded_counts(const Pool& op) const {
    std::vector<double> counts{1};
    for (size_t i = 0; i < axes.size(); ++i) {
      std::vector<double> next;
      for (const double outer : counts) {
        for (int64_t w = 0; w < out[i]; ++w) {
          const int64_t room = in[i] + pads[i] + pads[axes.size() + i] - w * op.strides[i];
          next.push_back(outer *
                         static_cast<double>(std::min(op.kernel[i], (room + op.dilations[i] - 1) / op.dilations[i])));
        }
      }
      counts = std::move(next);
    }
    return counts;
  }
};

// Calls f(window, element), flat over all planes, for each element that a window covers, in row-major order per window.
template <class F>
void for_each_covered(const Pool& op, const Windows& windows, F&& f) {
  const int64_t in_plane = product_of(windows.in), out_plane = product_of(windows.out);
  for_each_kernel_position(op.kernel, op.dilations, windows.pads, [&](int64_t, std::span<const int64_t> shifts) {
    for (int64_t plane = 0; plane < windows.planes; ++plane)
      for_each_tap(windows.axes, shifts, 0, 0,
                   [&](int64_t w, int64_t e) { f(static_cast<size_t>(plane * out_plane + w), plane * in_plane + e); });
  });
}

// Position of a flat, row-major index when each plane is numbered column-major.
int64_t column_major(int64_t flat, std::span<const int64_t> plane) {
  const int64_t size = product_of(plane);
  int64_t rest = flat % size, result = flat - rest, stride = size;
  for (size_t i = plane.size(); i-- > 0;) {
    stride /= plane[i];
    result += rest % plane[i] * stride;
    rest /= plane[i];
  }
  return result;
}

template <class W>
std::vector<RefValue> max_pool(const Pool& op, const Windows& windows, const Tensor& x, const Sizes& sizes,
                               bool indices) {
  const std::vector<W> values = read_wide<W>(x);
  W lowest;
  if constexpr (std::is_floating_point_v<W>)
    lowest = -std::numeric_limits<W>::infinity();
  else
    lowest = static_cast<W>(range_of(x.dtype()).low);
  std::vector<W> largest(static_cast<size_t>(product_of(sizes)), lowest);
  std::vector<int64_t> where(largest.size(), -1);
  for_each_covered(op, windows, [&](size_t window, int64_t element) {
    const W value = values[static_cast<size_t>(element)];
    const W best = largest[window];
    const bool is_nan = value != value, is_best_nan = best != best;
    if (where[window] >= 0 && !(value > best) && !(is_nan && !is_best_nan)) return;
    largest[window] = value;
    where[window] = element;
  });
  std::vector<RefValue> results{write_wide(x.dtype(), sizes, largest)};
  if (!indices) return results;
  if (op.column_major_indices)
    for (int64_t& index : where)
      if (index >= 0) index = column_major(index, windows.in);
  results.emplace_back(write_wide(DType::i64, sizes, where));
  return results;
}

std::vector<double> average_pool(const Pool& op, const Windows& windows, const std::vector<double>& x, size_t count) {
  std::vector<double> sums(count, 0), counts(count, 0);
  for_each_covered(op, windows, [&](size_t window, int64_t element) {
    sums[window] += x[static_cast<size_t>(element)];
    counts[window] += 1;
  });
  if (op.count_include_pad) {
    const std::vector<double> plane = windows.padded_counts(op);
    for (size_t i = 0; i < count; ++i) counts[i] = plane[i % plane.size()];
  }
  for (size_t i = 0; i < count; ++i) sums[i] = counts[i] > 0 ? sums[i] / counts[i] : 0;
  return sums;
}

std::vector<double> lp_pool(const Pool& op, const Windows& windows, const std::vector<double>& x, size_t count) {
  const auto p = static_cast<double>(op.p);
  std::vector<double> sums(count, 0);
  for_each_covered(op, windows, [&](size_t window, int64_t element) {
    sums[window] += std::pow(std::abs(x[static_cast<size_t>(element)]), p);
  });
  for (double& sum : sums) sum = std::pow(sum, 1 / p);
  return sums;
}

}  // namespace

std::vector<RefValue> evaluate(const Pool& op, const Call& call) {
  const Tensor x = op.channels_last ? to_channels_first(call.tensor(0)) : call.tensor(0);
  if (op.channels_last && call.num_outputs > 1)
    fail(ErrorCode::unsupported, "indices of maxima are not defined for channels-last pooling");
  const Windows windows(op, x, call.symbols);
  Sizes sizes{x.dims()[0], x.dims()[1]};
  sizes.insert(sizes.end(), windows.out.begin(), windows.out.end());
  const auto count = static_cast<size_t>(product_of(sizes));
  std::vector<RefValue> results;
  if (op.kind == PoolKind::max) {
    results =
        visit_wide(x.dtype(), [&]<class W>() { return max_pool<W>(op, windows, x, sizes, call.num_outputs > 1); });
  } else {
    const std::vector<double> values = read_wide<double>(x);
    const bool average = op.kind == PoolKind::average;
    results = {write_wide(x.dtype(), sizes,
                          average ? average_pool(op, windows, values, count) : lp_pool(op, windows, values, count))};
  }
  if (op.channels_last) results[0] = to_channels_last(std::get<Tensor>(results[0]));
  return results;
}

}  // namespace lathe::reference
