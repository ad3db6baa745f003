// Operators of classical machine learning that are tables or search: dictionaries, n-grams, decision trees,
// probabilities that fit others.
#include <algorithm>
#include <cmath>
#include <map>

#include "graph/externs/table.h"
#include "graph/reference/indexing.h"

namespace lathe::externs {
namespace {

using reference::Call;
using reference::read_wide;
using reference::Sizes;
using reference::write_wide;

// --- lookup: (x [..], keys [n], values [n], other [1]) -> for each element the value of the first key that equals it
// (NaN equals NaN), `other` where none does. integers = [whether an element that is no key is an error]

Types infer_lookup(const Extern& op, InferContext& c) {
  c.expect_inputs(4, 4);
  expect_lists(op, c, 1, 0, 0);
  const Type &x = c.tensor(0), &keys = c.tensor(1), &values = c.tensor(2), &other = c.tensor(3);
  c.expect_dtype(1, x.dtype);
  c.expect_dtype(3, values.dtype);
  for (const size_t i : {1, 2, 3}) c.expect_rank(i, 1);
  if (keys.ranked && values.ranked) c.same(keys.shape[0], values.shape[0], "keys and values");
  if (other.ranked) c.same(other.shape[0], 1, "values for all others");
  Type y = x;
  y.dtype = values.dtype;
  return {y};
}

// A strict order in which NaN equals itself, behind all numbers.
struct KeyLess {
  template <class W>
  bool operator()(const W& a, const W& b) const {
    if constexpr (std::is_floating_point_v<W>)
      if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
    return a < b;
  }
};

// For each element the place of its key, or kFill.
template <class W>
std::vector<int64_t> places_of(std::span<const W> elements, std::span<const W> keys) {
  std::map<W, int64_t, KeyLess> places;
  for (size_t i = 0; i < keys.size(); ++i) places.emplace(keys[i], static_cast<int64_t>(i));
  std::vector<int64_t> found;
  for (const W& element : elements) {
    const auto place = places.find(element);
    found.push_back(place != places.end() ? place->second : reference::kFill);
  }
  return found;
}

std::vector<int64_t> places_in(const Tensor& x, const Tensor& keys) {
  if (x.dtype() == DType::string) return places_of<std::string>(x.strings(), keys.strings());
  return reference::visit_wide(x.dtype(), [&]<class W>() {
    const std::vector<W> elements = read_wide<W>(x), known = read_wide<W>(keys);
    return places_of<W>(elements, known);
  });
}

std::vector<RefValue> lookup(const Extern& op, const Call& call) {
  const Tensor &x = call.tensor(0), &keys = call.tensor(1);
  if (keys.elements() != call.tensor(2).elements())
    fail(ErrorCode::invalid_argument, "{} keys have {} values", keys.elements(), call.tensor(2).elements());
  const std::vector<int64_t> places = places_in(x, keys);
  const auto missing = std::find(places.begin(), places.end(), reference::kFill);
  if (op.integers[0] != 0 && missing != places.end())
    fail(ErrorCode::invalid_argument, "element {} is none of the {} categories", missing - places.begin(),
         keys.elements());
  return {reference::pick(call.tensor(2), x.dims(), places, &call.tensor(3))};
}

// --- decision_trees: (x [rows, features], nodes i64 [n, 5], splits f64 [n], roots i64 [trees], starts i64 [leaves +
// 1], targets i64 [votes], weights f64 [votes]) -> [rows, integers[0]], in the type of x, in f32 if x holds integers.
// A node is (comparison, feature, next if true, next if false, whether NaN is true in any case); negative ones, roots
// too, are leaves: -1 is leaf 0. A leaf gives the votes [starts[i], starts[i + 1]), each to its target, where the votes
// of all trees are joined. integers = [targets, how: 0 sum, 1 mean, 2 minimum, 3 maximum]

enum class Comparison : int64_t { at_most, below, at_least, above, equal, not_equal };
enum class Joining : int64_t { sum, mean, minimum, maximum };

Types infer_trees(const Extern& op, InferContext& c) {
  c.expect_inputs(7, 7);
  expect_lists(op, c, 2, 0, 0);
  if (op.integers[0] < 0 || op.integers[1] < 0 || op.integers[1] > static_cast<int64_t>(Joining::maximum))
    c.fail("such trees cannot be joined");
  for (const size_t i : {1, 3, 4, 5}) c.expect_dtype(i, DType::i64);
  for (const size_t i : {2, 6}) c.expect_dtype(i, DType::f64);
  const Type& x = c.tensor(0);
  c.expect_rank(0, 2);
  const DType result = is_float(x.dtype) ? x.dtype : DType::f32;
  return {Type::tensor(result, {x.ranked ? x.shape[0] : c.fresh(), op.integers[0]})};
}

struct Node {
  int64_t comparison, feature, if_true, if_false, nan_is_true;

  bool holds(double x, double split) const {
    if (nan_is_true != 0 && std::isnan(x)) return true;
    switch (static_cast<Comparison>(comparison)) {
      case Comparison::at_most: return x <= split;
      case Comparison::below: return x < split;
      case Comparison::at_least: return x >= split;
      case Comparison::above: return x > split;
      case Comparison::equal: return x == split;
      default: return x != split;
    }
  }
};

// The operands of one evaluation, which may come from a hostile file: every index is checked when it is followed.
struct Forest {
  std::span<const int64_t> nodes, roots, starts, targets;
  std::span<const double> splits, weights;

  explicit Forest(const Call& call)
      : nodes(call.tensor(1).as<int64_t>()),
        roots(call.tensor(3).as<int64_t>()),
        starts(call.tensor(4).as<int64_t>()),
        targets(call.tensor(5).as<int64_t>()),
        splits(call.tensor(2).as<double>()),
        weights(call.tensor(6).as<double>()) {}

  static int64_t checked(int64_t index, size_t size) {
    if (index < 0 || index >= static_cast<int64_t>(size))
      fail(ErrorCode::invalid_model, "a decision tree names part {} of {}", index, size);
    return index;
  }

  Node node(int64_t index) const {
    const int64_t* fields = &nodes[static_cast<size_t>(checked(index, std::min(splits.size(), nodes.size() / 5)) * 5)];
    return {fields[0], fields[1], fields[2], fields[3], fields[4]};
  }

  // The leaf that a row ends in.
  int64_t leaf(int64_t place, std::span<const double> row) const {
    for (size_t steps = 0; place >= 0; ++steps) {
      if (steps > splits.size()) fail(ErrorCode::invalid_model, "a decision tree has a cycle");
      const Node n = node(place);
      const double x = row[static_cast<size_t>(checked(n.feature, row.size()))];
      place = n.holds(x, splits[static_cast<size_t>(place)]) ? n.if_true : n.if_false;
    }
    return checked(-1 - place, starts.empty() ? 0 : starts.size() - 1);
  }

  template <class Vote>
  void for_each_vote(int64_t leaf, Vote&& vote) const {
    const int64_t end = std::min(starts[static_cast<size_t>(leaf) + 1], static_cast<int64_t>(weights.size()));
    for (int64_t i = std::max<int64_t>(starts[static_cast<size_t>(leaf)], 0); i < end; ++i)
      vote(targets[static_cast<size_t>(checked(i, targets.size()))], weights[static_cast<size_t>(i)]);
  }
};

void join(Joining how, double& sum, bool first, double weight) {
  if (how == Joining::minimum)
    sum = first ? weight : std::min(sum, weight);
  else if (how == Joining::maximum)
    sum = first ? weight : std::max(sum, weight);
  else
    sum += weight;
}

std::vector<RefValue> trees(const Extern& op, const Call& call) {
  const Forest forest(call);
  const Tensor& x = call.tensor(0);
  if (x.rank() != 2) fail(ErrorCode::invalid_argument, "decision trees take rows, not shape {}", to_string(x.dims()));
  const int64_t rows = x.dims()[0], columns = op.integers[0];
  const auto features = static_cast<size_t>(x.dims()[1]);
  const auto how = static_cast<Joining>(op.integers[1]);
  const std::vector<double> values = read_wide<double>(x);
  Sizes sizes = {rows, columns};
  std::vector<double> sums(static_cast<size_t>(element_count(sizes)));
  std::vector<bool> seen(sums.size(), false);
  for (int64_t r = 0; r < rows; ++r) {
    const std::span<const double> row(values.data() + static_cast<size_t>(r) * features, features);
    for (const int64_t root : forest.roots) {
      forest.for_each_vote(forest.leaf(root, row), [&](int64_t target, double weight) {
        const auto at = static_cast<size_t>(r * columns + Forest::checked(target, static_cast<size_t>(columns)));
        join(how, sums[at], !seen[at], weight);
        seen[at] = true;
      });
    }
  }
  if (how == Joining::mean && !forest.roots.empty())
    for (double& sum : sums) sum /= static_cast<double>(forest.roots.size());
  return {write_wide(is_float(x.dtype()) ? x.dtype() : DType::f32, std::move(sizes), sums)};
}

// --- ngram_scores: (x [n] or [rows, n], pool [items], starts i64 [lengths]) -> f32 [.., integers[0]]. The pool holds
// one n-gram after the other, those of length k from starts[k - 1] to starts[k]. A gram's items may be apart: steps
// between them are equal and skip up to so many others. integers = [columns, shortest, longest, most skipped, how: 0 as
// often as it occurs, 1 once if it occurs, then the column of each gram], numbers = [weight of each gram]

Types infer_ngrams(const Extern& op, InferContext& c) {
  c.expect_inputs(3, 3);
  expect_lists(op, c, op.numbers.size() + 5, op.numbers.size(), 0);
  const std::span<const int64_t> columns(op.integers.begin() + 5, op.integers.end());
  for (const int64_t column : columns)
    if (column < 0 || column >= op.integers[0]) c.fail("column {} of {}", column, op.integers[0]);
  if (op.integers[1] < 1 || op.integers[2] < op.integers[1] || op.integers[3] < 0)
    c.fail("lengths from {} to {}, {} skipped", op.integers[1], op.integers[2], op.integers[3]);
  c.expect_dtype(1, c.tensor(0).dtype);
  c.expect_dtype(2, DType::i64);
  c.expect_rank(1, 1);
  c.expect_rank(2, 1);
  Type y = c.tensor(0);
  y.dtype = DType::f32;
  if (!y.ranked) return {y};
  if (y.rank() != 1 && y.rank() != 2) c.fail("words must stand in a row, or in rows");
  y.shape.back() = op.integers[0];
  return {y};
}

template <class W>
using Grams = std::map<std::vector<W>, size_t>;  // n-gram -> its place among all

// Every place in the file is checked: it may be hostile.
template <class W>
Grams<W> read_grams(std::span<const W> pool, std::span<const int64_t> starts, size_t count) {
  Grams<W> grams;
  size_t place = 0;
  for (size_t k = 0; k < starts.size(); ++k) {
    const auto size = static_cast<int64_t>(pool.size());
    const int64_t begin = starts[k], end = k + 1 < starts.size() ? starts[k + 1] : size;
    const auto length = static_cast<int64_t>(k + 1);
    if (begin < 0 || begin > end || end > size || (end - begin) % length != 0)
      fail(ErrorCode::invalid_model, "the pool has no whole {}-grams from {} to {}", length, begin, end);
    for (int64_t at = begin; at < end; at += length)
      grams.emplace(std::vector<W>(pool.begin() + at, pool.begin() + at + length), place++);
  }
  if (place != count) fail(ErrorCode::invalid_model, "the pool holds {} n-grams, {} have weights", place, count);
  return grams;
}

template <class W>
std::vector<double> count_grams(const Extern& op, std::span<const W> row, const Grams<W>& grams) {
  std::vector<double> counts(op.numbers.size());
  const auto size = static_cast<int64_t>(row.size());
  std::vector<W> gram;
  for (int64_t length = op.integers[1]; length <= std::min(op.integers[2], size); ++length) {
    const int64_t skipped = length == 1 ? 0 : std::min(op.integers[3], size);
    for (int64_t step = 1; step <= skipped + 1; ++step) {
      for (int64_t begin = 0; begin + step * (length - 1) < size; ++begin) {
        gram.clear();
        for (int64_t i = 0; i < length; ++i) gram.push_back(row[static_cast<size_t>(begin + i * step)]);
        if (const auto found = grams.find(gram); found != grams.end()) ++counts[found->second];
      }
    }
  }
  return counts;
}

template <class W>
std::vector<double> ngram_scores(const Extern& op, std::span<const W> items, int64_t rows, const Grams<W>& grams) {
  const auto columns = static_cast<size_t>(op.integers[0]);
  const size_t length = rows == 0 ? 0 : items.size() / static_cast<size_t>(rows);
  std::vector<double> scores(static_cast<size_t>(rows) * columns);
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    const std::vector<double> counts = count_grams(op, items.subspan(r * length, length), grams);
    for (size_t i = 0; i < counts.size(); ++i)
      if (counts[i] != 0)
        scores[r * columns + static_cast<size_t>(op.integers[5 + i])] =
            op.numbers[i] * (op.integers[4] ? 1 : counts[i]);
  }
  return scores;
}

std::vector<RefValue> ngrams(const Extern& op, const Call& call) {
  const Tensor &x = call.tensor(0), &pool = call.tensor(1);
  Sizes sizes = x.dims();
  if (sizes.size() != 1 && sizes.size() != 2)
    fail(ErrorCode::invalid_argument, "n-grams are counted in rows, not in shape {}", to_string(sizes));
  const int64_t rows = sizes.size() == 2 ? sizes[0] : 1;
  sizes.back() = op.integers[0];
  const std::span<const int64_t> starts = call.tensor(2).as<int64_t>();
  const auto scores = [&]<class W>(std::span<const W> items, std::span<const W> known) {
    return ngram_scores<W>(op, items, rows, read_grams<W>(known, starts, op.numbers.size()));
  };
  return {write_wide(DType::f32, std::move(sizes),
                     x.dtype() == DType::string
                         ? scores.template operator()<std::string>(x.strings(), pool.strings())
                         : scores.template operator()<int64_t>(x.as<int64_t>(), pool.as<int64_t>()))};
}

// --- coupled_probabilities: (p f32 [rows, pairs]) -> f32 [rows, integers[0]]. p is how likely class i is where only i
// and j are left, for all pairs i < j in order; the results are the probabilities of all classes that fit these best
// (the second method of Wu, Lin and Weng, 2004, with the bounds that libsvm ends it at). integers = [classes]

Types infer_coupled(const Extern& op, InferContext& c) {
  c.expect_inputs(1, 1);
  expect_lists(op, c, 1, 0, 0);
  c.expect_dtype(0, DType::f32);
  c.expect_rank(0, 2);
  const int64_t classes = op.integers[0];
  if (classes < 2 || classes > INT16_MAX) c.fail("{} classes", classes);
  const Type& p = c.tensor(0);
  if (p.ranked) c.same(p.shape[1], classes * (classes - 1) / 2, "pairs of classes");
  return {Type::tensor(DType::f32, {p.ranked ? p.shape[0] : c.fresh(), classes})};
}

// The matrix whose quadratic form the probabilities minimise.
std::vector<float> coupling_matrix(std::span<const float> pairs, size_t classes) {
  std::vector<float> q(classes * classes, 0);
  size_t pair = 0;
  for (size_t i = 0; i < classes; ++i) {
    for (size_t j = i + 1; j < classes; ++j, ++pair) {
      const float here = pairs[pair], there = 1 - here;
      q[i * classes + i] += there * there;
      q[j * classes + j] += here * here;
      q[i * classes + j] = q[j * classes + i] = -here * there;
    }
  }
  return q;
}

void couple(std::span<const float> pairs, std::span<float> p) {
  const size_t classes = p.size();
  const std::vector<float> q = coupling_matrix(pairs, classes);
  const float enough = 0.005F / static_cast<float>(classes);
  std::vector<float> slopes(classes);  // q p
  std::fill(p.begin(), p.end(), 1 / static_cast<float>(classes));
  for (size_t round = 0; round < std::max<size_t>(100, classes); ++round) {
    float form = 0, worst = 0;  // p q p
    for (size_t i = 0; i < classes; ++i) {
      slopes[i] = 0;
      for (size_t j = 0; j < classes; ++j) slopes[i] += q[i * classes + j] * p[j];
      form += p[i] * slopes[i];
    }
    for (const float slope : slopes) worst = std::max(worst, std::abs(slope - form));
    if (worst < enough) return;
    for (size_t i = 0; i < classes; ++i) {
      const float* row = &q[i * classes];
      const float step = (form - slopes[i]) / row[i], whole = 1 + step;
      p[i] += step;
      form = (form + step * (step * row[i] + 2 * slopes[i])) / (whole * whole);
      for (size_t j = 0; j < classes; ++j) {
        slopes[j] = (slopes[j] + step * row[j]) / whole;
        p[j] /= whole;
      }
    }
  }
}

std::vector<RefValue> coupled(const Extern& op, const Call& call) {
  const Tensor& pairs = call.tensor(0);
  const auto classes = static_cast<size_t>(op.integers[0]), count = classes * (classes - 1) / 2;
  if (pairs.rank() != 2 || pairs.dims()[1] != static_cast<int64_t>(count))
    fail(ErrorCode::invalid_argument, "probabilities of {} pairs in shape {}", count, to_string(pairs.dims()));
  const auto rows = static_cast<size_t>(pairs.dims()[0]);
  std::vector<float> probabilities(rows * classes);
  for (size_t r = 0; r < rows; ++r)
    couple(pairs.as<float>().subspan(r * count, count), std::span(probabilities).subspan(r * classes, classes));
  return {Tensor::of<float>({pairs.dims()[0], op.integers[0]}, probabilities)};
}

constexpr Row kRows[] = {
    {"coupled_probabilities", infer_coupled, coupled},
    {"decision_trees", infer_trees, trees},
    {"lookup", infer_lookup, lookup},
    {"ngram_scores", infer_ngrams, ngrams},
};

}  // namespace

std::span<const Row> learned_rows() { return kRows; }

}  // namespace lathe::externs
