// Reduce, arg_reduce and cumulative.
#include <cmath>
#include <limits>

#include "graph/reference/families.h"
#include "graph/reference/indexing.h"

namespace lathe::reference {
namespace {

// Accumulates in W; `type` tells apart the integer types that share one.
template <class W>
class Reducer {
 public:
  Reducer(ReduceKind kind, DType type) : kind_(kind), type_(type) {}

  W identity() const {
    switch (kind_) {
      case ReduceKind::prod: return 1;
      case ReduceKind::max: return lowest();
      case ReduceKind::min: return highest();
      default: return 0;
    }
  }

  W combine(W total, W x) const {
    switch (kind_) {
      case ReduceKind::prod: return times(total, x);
      case ReduceKind::max: return is_nan(total) || x < total ? total : x;
      case ReduceKind::min: return is_nan(total) || x > total ? total : x;
      case ReduceKind::l1: return plus(total, magnitude(x));
      case ReduceKind::l2:
      case ReduceKind::sum_square: return plus(total, times(x, x));
      default: return plus(total, x);
    }
  }

  W finish(W total, int64_t count) const {
    switch (kind_) {
      case ReduceKind::mean:
        if constexpr (std::is_integral_v<W>)
          if (count == 0) return 0;
        return total / static_cast<W>(count);
      case ReduceKind::l2: return static_cast<W>(std::sqrt(static_cast<double>(total)));
      case ReduceKind::log_sum: return logarithm(static_cast<double>(total));
      default: return total;
    }
  }

  // The logarithm of an integer sum is truncated; that of 0 is the lowest integer.
  W logarithm(double total) const {
    if constexpr (std::is_integral_v<W>)
      if (!(total > 0)) return lowest();
    return static_cast<W>(std::log(total));
  }

 private:
  static bool is_nan(W x) { return x != x; }
  static W magnitude(W x) {
    if constexpr (std::is_floating_point_v<W>)
      return std::abs(x);
    else
      return x < 0 ? times(x, static_cast<W>(-1)) : x;
  }
  W lowest() const {
    if constexpr (std::is_floating_point_v<W>)
      return -std::numeric_limits<W>::infinity();
    else
      return static_cast<W>(range_of(type_).low);
  }
  W highest() const {
    if constexpr (std::is_floating_point_v<W>)
      return std::numeric_limits<W>::infinity();
    else
      return static_cast<W>(range_of(type_).high);
  }

  ReduceKind kind_;
  DType type_;
};

// Where the elements of x go: one flat index of the result for each.
struct ReducedSpace {
  Sizes kept;  // sizes with 1 along the reduced axes
  Sizes result;
  std::vector<int64_t> target;
  int64_t count = 1;  // elements of x that make one of the result

  ReducedSpace(const Sizes& sizes, const std::vector<int64_t>& axes, bool keep_dims) : kept(sizes) {
    std::vector<bool> drop(sizes.size(), false);
    for (const int64_t axis : axes) {
      const size_t i = resolve_axis(axis, static_cast<int64_t>(sizes.size()));
      drop[i] = true;
      kept[i] = 1;
      count *= sizes[i];
    }
    for (size_t i = 0; i < sizes.size(); ++i)
      if (keep_dims || !drop[i]) result.push_back(kept[i]);
    target = offsets(sizes, broadcast_strides(kept, sizes));
  }
};

template <class W>
std::vector<W> reduce(const Reducer<W>& reducer, const std::vector<W>& values, const ReducedSpace& space) {
  std::vector<W> totals(static_cast<size_t>(product_of(space.kept)), reducer.identity());
  for (size_t i = 0; i < values.size(); ++i) {
    W& total = totals[static_cast<size_t>(space.target[i])];
    total = reducer.combine(total, values[i]);
  }
  for (W& total : totals) total = reducer.finish(total, space.count);
  return totals;
}

// log(sum(exp(x))) with the largest x taken out, so that nothing overflows.
template <class W>
std::vector<W> log_sum_exp(DType type, const std::vector<W>& values, const ReducedSpace& space) {
  const std::vector<W> largest = reduce(Reducer<W>(ReduceKind::max, type), values, space);
  std::vector<double> shift(largest.begin(), largest.end());
  for (double& s : shift)
    if (!std::isfinite(s)) s = 0;  // sums of nothing, of zeros, of infinities and NaN come out right without
  std::vector<double> sums(shift.size(), 0);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto target = static_cast<size_t>(space.target[i]);
    sums[target] += std::exp(static_cast<double>(values[i]) - shift[target]);
  }
  std::vector<W> result;
  const Reducer<W> logarithm(ReduceKind::log_sum, type);
  for (size_t i = 0; i < sums.size(); ++i)
    result.push_back(sums[i] > 0 ? static_cast<W>(std::log(sums[i]) + shift[i]) : logarithm.logarithm(sums[i]));
  return result;
}

// True when x beats the best so far; a NaN beats every number.
bool beats(double x, double best, bool largest) {
  if (std::isnan(x)) return !std::isnan(best);
  return largest ? x > best : x < best;
}

template <class W>
bool beats(W x, W best, bool largest) {
  return largest ? x > best : x < best;
}

template <class W>
std::vector<int64_t> arg_reduce(const ArgReduce& op, const std::vector<W>& values, const AxisSplit& split) {
  std::vector<int64_t> winners;
  for (int64_t outer = 0; outer < split.outer; ++outer) {
    for (int64_t inner = 0; inner < split.inner; ++inner) {
      const auto at = [&](int64_t i) {
        return values[static_cast<size_t>((outer * split.size + i) * split.inner + inner)];
      };
      int64_t winner = 0;
      for (int64_t i = 1; i < split.size; ++i) {
        const bool replaces =
            op.select_last ? !beats(at(winner), at(i), op.largest) : beats(at(i), at(winner), op.largest);
        if (replaces) winner = i;
      }
      winners.push_back(winner);
    }
  }
  return winners;
}

template <class W>
void accumulate(const Cumulative& op, std::vector<W>& values, const AxisSplit& split) {
  for (int64_t outer = 0; outer < split.outer; ++outer) {
    for (int64_t inner = 0; inner < split.inner; ++inner) {
      W total = op.kind == CumulativeKind::sum ? 0 : 1;
      for (int64_t i = 0; i < split.size; ++i) {
        const int64_t position = op.reverse ? split.size - 1 - i : i;
        W& x = values[static_cast<size_t>((outer * split.size + position) * split.inner + inner)];
        const W next = op.kind == CumulativeKind::sum ? plus(total, x) : times(total, x);
        x = op.exclusive ? total : next;
        total = next;
      }
    }
  }
}

}  // namespace

std::vector<RefValue> evaluate(const Reduce& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  const ReducedSpace space(x.dims(), op.axes, op.keep_dims);
  return visit_wide(x.dtype(), [&]<class W>() -> std::vector<RefValue> {
    const std::vector<W> values = read_wide<W>(x);
    if (op.kind == ReduceKind::log_sum_exp)
      return {write_wide(x.dtype(), space.result, log_sum_exp(x.dtype(), values, space))};
    return {write_wide(x.dtype(), space.result, reduce(Reducer<W>(op.kind, x.dtype()), values, space))};
  });
}

std::vector<RefValue> evaluate(const ArgReduce& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  const size_t axis = resolve_axis(op.axis, x.rank());
  const AxisSplit split(x.dims(), axis);
  if (split.size == 0 && split.outer * split.inner > 0)
    fail(ErrorCode::invalid_argument, "axis {} of shape {} has no elements to choose from", axis, to_string(x.dims()));
  Sizes sizes = x.dims();
  if (op.keep_dims)
    sizes[axis] = 1;
  else
    sizes.erase(sizes.begin() + static_cast<int64_t>(axis));
  return visit_wide(x.dtype(), [&]<class W>() -> std::vector<RefValue> {
    return {write_wide(DType::i64, sizes, arg_reduce(op, read_wide<W>(x), split))};
  });
}

std::vector<RefValue> evaluate(const Cumulative& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  const AxisSplit split(x.dims(), resolve_axis(op.axis, x.rank()));
  return visit_wide(x.dtype(), [&]<class W>() -> std::vector<RefValue> {
    std::vector<W> values = read_wide<W>(x);
    accumulate(op, values, split);
    return {write_wide(x.dtype(), x.dims(), values)};
  });
}

}  // namespace lathe::reference
