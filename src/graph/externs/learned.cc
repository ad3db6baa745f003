// Operators of classical machine learning that are tables: dictionaries and decision trees.
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
// A node is (comparison, feature, next if true, next if false, whether NaN counts as true); negative ones, roots too,
// are leaves: -1 is leaf 0. A leaf gives the votes [starts[i], starts[i + 1]), each to its target, where the votes of
// all trees are joined. integers = [targets, how: 0 sum, 1 mean, 2 minimum, 3 maximum]

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
    if (std::isnan(x)) return nan_is_true != 0;
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

constexpr Row kRows[] = {
    {"decision_trees", infer_trees, trees},
    {"lookup", infer_lookup, lookup},
};

}  // namespace

std::span<const Row> learned_rows() { return kRows; }

}  // namespace lathe::externs
