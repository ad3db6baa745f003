// Decides how a reduction over arbitrary axes becomes partial reductions: neighbouring axes of a sort are merged, then
// the innermost axis is either reduced as a run, or kept as columns of the axis before it.
#include "backends/cpu/kernels/reduce.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "backends/cpu/kernels/reduce_kernels.h"
#include "base/error.h"

namespace lathe::cpu {
namespace {

// Below this many inputs a fork costs more than it saves.
constexpr int64_t kParallelElements = 16 * 1024;

struct Axis {
  int64_t size, stride;
};

struct AxisList {
  int rank = 0;
  std::array<Axis, kMaxReduceAxes> axes = {};

  void add_front(Axis axis) {
    if (rank == kMaxReduceAxes) fail(ErrorCode::unsupported, "a reduction with more than {} axes", kMaxReduceAxes);
    for (auto a = static_cast<size_t>(rank); a > 0; --a) axes[a] = axes[a - 1];
    axes[0] = axis;
    ++rank;
  }
  Axis take_last() { return rank == 0 ? Axis{1, 0} : axes[static_cast<size_t>(--rank)]; }
  int64_t count() const {
    int64_t product = 1;
    for (int a = 0; a < rank; ++a) product *= axes[static_cast<size_t>(a)].size;
    return product;
  }
  int64_t offset(int64_t index) const {
    int64_t at = 0;
    for (int a = rank - 1; a >= 0; --a) {
      const Axis& axis = axes[static_cast<size_t>(a)];
      at += index % axis.size * axis.stride;
      index /= axis.size;
    }
    return at;
  }
};

// A result is made of `columns` neighbouring outputs (1 when the innermost axis is reduced), each reduced over `run`,
// then over all of `outer`. Column c of output group g reads from x + groups.offset(g) + c.
struct Plan {
  AxisList groups, outer;
  Axis run = {1, 0};
  int64_t columns = 1;
  int64_t reduced_count = 1;
};

Plan make_plan(std::span<const int64_t> dims, std::span<const bool> reduced) {
  AxisList kept, gone;
  Plan plan;
  int64_t stride = 1;
  bool previous = false, first = true, innermost_reduced = true;
  for (size_t a = dims.size(); a-- > 0;) {
    if (reduced[a]) plan.reduced_count *= dims[a];
    if (dims[a] == 1) continue;
    AxisList& list = reduced[a] ? gone : kept;
    if (first) innermost_reduced = reduced[a];
    if (!first && previous == reduced[a]) {
      list.axes[0].size *= dims[a];
    } else {
      list.add_front({dims[a], stride});
    }
    first = false;
    previous = reduced[a];
    stride *= dims[a];
  }
  if (!innermost_reduced) plan.columns = kept.take_last().size;
  plan.run = gone.take_last();
  plan.groups = kept;
  plan.outer = gone;
  return plan;
}

PartialReduce partial_of(ReduceKind kind) {
  switch (kind) {
    case ReduceKind::max: return PartialReduce::max;
    case ReduceKind::min: return PartialReduce::min;
    case ReduceKind::product: return PartialReduce::product;
    case ReduceKind::sum_square:
    case ReduceKind::l2: return PartialReduce::square_sum;
    case ReduceKind::l1: return PartialReduce::abs_sum;
    case ReduceKind::log_sum_exp: return PartialReduce::exp_sum;
    case ReduceKind::sum:
    case ReduceKind::mean:
    case ReduceKind::log_sum: return PartialReduce::sum;
  }
  return PartialReduce::sum;
}

double identity_of(PartialReduce partial) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (partial == PartialReduce::max) return -kInfinity;
  if (partial == PartialReduce::min) return kInfinity;
  return partial == PartialReduce::product ? 1.0 : 0.0;
}

double join(PartialReduce partial, double a, double b) {
  switch (partial) {
    case PartialReduce::max: return std::isnan(a) || a > b ? a : b;
    case PartialReduce::min: return std::isnan(a) || a < b ? a : b;
    case PartialReduce::product: return a * b;
    default: return a + b;
  }
}

// The shift of a log-sum-exp: the maximum, which makes the largest term 1; infinities are not subtracted from
// themselves.
float finite_shift(double maximum) { return std::isfinite(maximum) ? static_cast<float>(maximum) : 0.0f; }

double finished(ReduceKind kind, double total, int64_t count, double shift) {
  switch (kind) {
    case ReduceKind::mean: return total / static_cast<double>(count);
    case ReduceKind::l2: return std::sqrt(total);
    case ReduceKind::log_sum: return std::log(total);
    case ReduceKind::log_sum_exp: return std::log(total) + shift;
    default: return total;
  }
}

// `columns` neighbouring results; at most kMaxReduceColumns.
struct Totals {
  std::array<double, kMaxReduceColumns> values;
};

void reduce_block(const ReduceKernels& kernels, const Plan& plan, PartialReduce partial, const float* x,
                  int64_t columns, const float* shift, Totals& totals) {
  const auto which = static_cast<size_t>(partial);
  std::fill_n(totals.values.begin(), columns, identity_of(partial));
  const int64_t outer_count = plan.outer.count();
  const bool contiguous = plan.run.stride == 1 && columns == 1;
  const int64_t step = contiguous ? kMaxReduceRun : kMaxReduceRows;
  std::array<float, kMaxReduceColumns> part;
  for (int64_t o = 0; o < outer_count; ++o) {
    const float* base = x + plan.outer.offset(o);
    for (int64_t r = 0; r < plan.run.size; r += step) {
      const int64_t n = std::min(step, plan.run.size - r);
      const float* from = base + r * plan.run.stride;
      if (contiguous) {
        part[0] = kernels.run[which](from, n, shift);
      } else {
        kernels.columns[which](from, n, plan.run.stride, columns, shift, part.data());
      }
      for (size_t c = 0; c < static_cast<size_t>(columns); ++c) {
        totals.values[c] = join(partial, totals.values[c], static_cast<double>(part[c]));
      }
    }
  }
}

void reduce_outputs(const ReduceKernels& kernels, const Plan& plan, ReduceKind kind, const float* x, int64_t columns,
                    float* out) {
  Totals totals;
  std::array<float, kMaxReduceColumns> shift = {};
  if (kind == ReduceKind::log_sum_exp) {
    reduce_block(kernels, plan, PartialReduce::max, x, columns, nullptr, totals);
    for (size_t c = 0; c < static_cast<size_t>(columns); ++c) shift[c] = finite_shift(totals.values[c]);
  }
  reduce_block(kernels, plan, partial_of(kind), x, columns, shift.data(), totals);
  for (size_t c = 0; c < static_cast<size_t>(columns); ++c) {
    out[c] = static_cast<float>(finished(kind, totals.values[c], plan.reduced_count, static_cast<double>(shift[c])));
  }
}

}  // namespace

void reduce(ThreadTeam& team, const KernelTable& kernels, ReduceKind kind, std::span<const int64_t> dims,
            std::span<const bool> reduced, const float* x, float* out) {
  LATHE_CHECK(dims.size() == reduced.size());
  int64_t outputs = 1, inputs = 1;
  for (size_t a = 0; a < dims.size(); ++a) {
    outputs *= reduced[a] ? 1 : dims[a];
    inputs *= dims[a];
  }
  if (outputs == 0) return;
  if (inputs == 0) {
    const double nothing = identity_of(partial_of(kind));
    std::fill_n(out, outputs, static_cast<float>(finished(kind, nothing, 0, 0.0)));
    return;
  }
  const Plan plan = make_plan(dims, reduced);
  const int64_t blocks = (plan.columns + kMaxReduceColumns - 1) / kMaxReduceColumns;
  const auto part = [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t group = i / blocks, column = i % blocks * kMaxReduceColumns;
      reduce_outputs(kernels.reduce, plan, kind, x + plan.groups.offset(group) + column,
                     std::min(kMaxReduceColumns, plan.columns - column), out + group * plan.columns + column);
    }
  };
  const int64_t tasks = plan.groups.count() * blocks;
  if (inputs < kParallelElements) {
    part(0, tasks, 0);
  } else {
    team.parallel_for(tasks, part);
  }
}

AxisView view_along(std::span<const int64_t> dims, int64_t axis) {
  AxisView view = {1, dims[static_cast<size_t>(axis)], 1};
  for (int64_t a = 0; a < static_cast<int64_t>(dims.size()); ++a) {
    if (a < axis) view.outer *= dims[static_cast<size_t>(a)];
    if (a > axis) view.inner *= dims[static_cast<size_t>(a)];
  }
  return view;
}

void softmax_along(ThreadTeam& team, const KernelTable& kernels, const AxisView& view, bool log, const float* x,
                   float* y) {
  if (view.axis == 0) return;
  const int64_t blocks = (view.inner + kMaxReduceColumns - 1) / kMaxReduceColumns;
  team.parallel_for(view.outer * blocks, [&](int64_t begin, int64_t end, int) {
    Plan plan;
    plan.run = {view.axis, view.inner};
    for (int64_t i = begin; i < end; ++i) {
      const int64_t column = i % blocks * kMaxReduceColumns;
      const int64_t columns = std::min(kMaxReduceColumns, view.inner - column);
      const int64_t at = i / blocks * view.axis * view.inner + column;
      Totals totals;
      std::array<float, kMaxReduceColumns> shift, scale;
      reduce_block(kernels.reduce, plan, PartialReduce::max, x + at, columns, nullptr, totals);
      // Unlike in log-sum-exp an infinite maximum is subtracted: softmax of infinities is NaN by definition.
      for (size_t c = 0; c < static_cast<size_t>(columns); ++c) shift[c] = static_cast<float>(totals.values[c]);
      reduce_block(kernels.reduce, plan, PartialReduce::exp_sum, x + at, columns, shift.data(), totals);
      for (size_t c = 0; c < static_cast<size_t>(columns); ++c) {
        scale[c] = static_cast<float>(log ? std::log(totals.values[c]) : 1.0 / totals.values[c]);
      }
      kernels.reduce.soften_columns(x + at, view.axis, view.inner, columns, shift.data(), scale.data(), log, y + at);
    }
  });
}

}  // namespace lathe::cpu
