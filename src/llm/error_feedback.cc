#include "llm/error_feedback.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace lathe::llm {
namespace {

constexpr float kDamping = 0.01F;    // of the mean square of the activations, added to each
constexpr int64_t kRowsAtOnce = 16;  // that share what is read of the factor, or of the activations

void subtract(std::span<float> from, std::span<const float> x, float factor) {
  float* to = from.data();
  const float* source = x.data();
  for (size_t i = 0; i < x.size(); ++i) to[i] -= factor * source[i];
}

size_t at(int64_t row, int64_t k, int64_t column) { return static_cast<size_t>(row * k + column); }

// Columns before `end` of a row.
std::span<float> part(std::vector<float>& matrix, int64_t k, int64_t row, int64_t end) {
  return std::span(matrix).subspan(at(row, k, 0), static_cast<size_t>(end));
}

// What no activation ever reaches may become anything, and others are kept from cancelling each other.
void damp(std::vector<float>& sums, int64_t k) {
  double mean = 0;
  for (int64_t i = 0; i < k; ++i) mean += static_cast<double>(sums[at(i, k, i)]) / static_cast<double>(k);
  const float added = mean > 0 ? kDamping * static_cast<float>(mean) : 1;
  for (int64_t i = 0; i < k; ++i) sums[at(i, k, i)] += added;
}

// The lower N with N^T N = sums, in place, from the last row up: some rows among themselves, then what is above them.
void factorise(std::vector<float>& sums, int64_t k, ThreadTeam& team) {
  constexpr int64_t kBlock = 64;
  const auto subtract_row = [&](int64_t j, int64_t from) {
    const std::span<float> row = part(sums, k, j, from + 1);
    subtract(part(sums, k, from, from + 1), row, row.back());
  };
  for (int64_t end = k; end > 0; end -= kBlock) {
    const int64_t first = std::max<int64_t>(end - kBlock, 0);
    for (int64_t j = end - 1; j >= first; --j) {
      const float pivot = sums[at(j, k, j)];
      if (!(pivot > 0)) fail(ErrorCode::invalid_model, "activations of the calibration text are infinite or NaN");
      const float root = std::sqrt(pivot);
      for (float& x : part(sums, k, j, j + 1)) x /= root;
      for (int64_t i = first; i < j; ++i) subtract_row(j, i);
    }
    team.parallel_for(first, [&](int64_t begin, int64_t stop, int) {
      for (int64_t i = begin; i < stop; ++i)
        for (int64_t j = end - 1; j >= first; --j) subtract_row(j, i);
    });
  }
}

}  // namespace

InputStatistics::InputStatistics(int64_t k) : k_(k), sums_(static_cast<size_t>(k * k)) {}

void InputStatistics::add(std::span<const float> x, ThreadTeam& team) {
  const int64_t tiles = (k_ + kRowsAtOnce - 1) / kRowsAtOnce, rows = static_cast<int64_t>(x.size()) / k_;
  team.run([&](int thread, int threads) {
    for (int64_t tile = thread; tile < tiles; tile += threads)
      for (int64_t t = 0; t < rows; ++t) {
        const auto row = x.subspan(at(t, k_, 0), static_cast<size_t>(k_));
        for (int64_t i = tile * kRowsAtOnce; i < std::min((tile + 1) * kRowsAtOnce, k_); ++i)
          subtract(part(sums_, k_, i, i + 1), row.first(static_cast<size_t>(i + 1)), -row[static_cast<size_t>(i)]);
      }
  });
}

FeedbackRounder::FeedbackRounder(InputStatistics statistics, ThreadTeam& team)
    : k_(statistics.k_), factor_(std::move(statistics.sums_)) {
  damp(factor_, k_);
  factorise(factor_, k_, team);
  invert(team);
}

// factor_ holds N, and becomes the transpose of its inverse. Threads share the columns.
void FeedbackRounder::invert(ThreadTeam& team) {
  constexpr int64_t kColumns = 64;
  std::vector<float> inverse(factor_.size());
  const int64_t stripes = (k_ + kColumns - 1) / kColumns;
  team.run([&](int thread, int threads) {
    for (int64_t stripe = thread; stripe < stripes; stripe += threads) {
      const int64_t first = stripe * kColumns, end = std::min(first + kColumns, k_);
      const auto of_row = [&](int64_t row) {
        return std::span(inverse).subspan(at(row, k_, first), static_cast<size_t>(end - first));
      };
      for (int64_t i = first; i < k_; ++i) {
        const std::span<float> row = of_row(i);
        if (i < end) row[static_cast<size_t>(i - first)] = 1;
        for (int64_t l = first; l < i; ++l) subtract(row, of_row(l), factor_[at(i, k_, l)]);
        for (float& x : row) x /= factor_[at(i, k_, i)];
      }
    }
  });
  for (int64_t i = 0; i < k_; ++i)
    for (int64_t j = 0; j < k_; ++j) factor_[at(i, k_, j)] = inverse[at(j, k_, i)];
}

void FeedbackRounder::round_rows(std::span<float> rows, int64_t first, const RoundingOptions& options,
                                 RoundedWeight& result) const {
  const int64_t count = static_cast<int64_t>(rows.size()) / k_, blocks = result.scales.dims()[1];
  const int64_t block = options.block == 0 ? k_ : options.block;
  ScaleSearch search(options.bits, options.scale);
  std::vector<int8_t> levels(rows.size());
  std::vector<float> scales(static_cast<size_t>(count));
  for (int64_t j = 0; j < k_; ++j) {
    const float* factor = factor_.data() + at(j, k_, j);
    const auto rest = std::span(factor + 1, static_cast<size_t>(k_ - j - 1));
    for (int64_t r = 0; r < count; ++r) {
      const std::span<float> row = rows.subspan(at(r, k_, 0), static_cast<size_t>(k_));
      float& scale = scales[static_cast<size_t>(r)];
      if (j % block == 0) {
        scale = search.best(row.subspan(static_cast<size_t>(j), static_cast<size_t>(std::min(block, k_ - j))));
        result.scales.write_double((first + r) * blocks + j / block, static_cast<double>(scale));
      }
      const float w = row[static_cast<size_t>(j)];
      const int8_t level = nearest_level(w, scale, options.bits);
      levels[at(r, k_, j)] = level;
      const float lost = (w - static_cast<float>(level) * scale) / factor[0];
      subtract(row.subspan(static_cast<size_t>(j + 1)), rest, lost);
    }
  }
  store_levels(levels, first * k_, options.bits, result.q.mutable_bytes());
}

RoundedWeight FeedbackRounder::round(const Tensor& weight, const RoundingOptions& options, ThreadTeam& team) const {
  LATHE_CHECK(weight.rank() == 2 && weight.dims()[1] == k_);
  const int64_t n = weight.dims()[0], block = options.block == 0 ? std::max<int64_t>(k_, 1) : options.block;
  RoundedWeight result{Tensor(options.bits == 4 ? DType::i4 : DType::i8, {n, k_}),
                       Tensor(options.scale, {n, (k_ + block - 1) / block})};
  team.parallel_for((n + kRowsAtOnce - 1) / kRowsAtOnce, [&](int64_t begin, int64_t end, int) {
    for (int64_t first = begin * kRowsAtOnce; first < std::min(end * kRowsAtOnce, n); first += kRowsAtOnce) {
      const int64_t count = std::min(kRowsAtOnce, n - first);
      const auto source = weight.as<float>().subspan(at(first, k_, 0), static_cast<size_t>(count * k_));
      std::vector<float> rows(source.begin(), source.end());
      round_rows(rows, first, options, result);
    }
  });
  return result;
}

}  // namespace lathe::llm
