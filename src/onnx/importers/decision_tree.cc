// Decision trees (ai.onnx.ml) as the host's operator runs them (graph/externs/learned.cc): the attributes of all
// versions become one table of nodes.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "onnx/importers/learned.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

struct Vote {
  int64_t target;
  double weight;
};

struct Forest {
  std::vector<int64_t> nodes;  // five fields each
  std::vector<double> splits;
  std::vector<int64_t> roots;
  std::vector<std::vector<Vote>> leaves;

  void add_node(int64_t comparison, int64_t feature, int64_t if_true, int64_t if_false, bool nan_is_true,
                double split) {
    nodes.insert(nodes.end(), {comparison, feature, if_true, if_false, nan_is_true ? 1 : 0});
    splits.push_back(split);
  }
  int64_t size() const { return static_cast<int64_t>(splits.size()); }
  static int64_t leaf(size_t index) { return -1 - static_cast<int64_t>(index); }

  bool all_positive() const {
    return std::all_of(leaves.begin(), leaves.end(), [](const auto& votes) {
      return std::all_of(votes.begin(), votes.end(), [](const Vote& vote) { return vote.weight >= 0; });
    });
  }
};

Value* run_forest(Context& ctx, const Forest& forest, int64_t targets, int64_t joining) {
  std::vector<int64_t> starts = {0}, voted;
  std::vector<double> weights;
  for (const auto& votes : forest.leaves) {
    for (const Vote& vote : votes) {
      if (vote.target < 0 || vote.target >= targets) ctx.invalid("a leaf votes for a target that is not there");
      voted.push_back(vote.target);
      weights.push_back(vote.weight);
    }
    starts.push_back(static_cast<int64_t>(voted.size()));
  }
  const auto doubles = [&](const std::vector<double>& values) {
    return ctx.constant(Tensor::of<double>({static_cast<int64_t>(values.size())}, values));
  };
  Extern op;
  op.kernel = "decision_trees";
  op.integers = {targets, joining};
  const auto integers = [&](const std::vector<int64_t>& values) { return ctx.constant(integers_tensor(values)); };
  return ctx.emit(std::move(op), {rows_of(ctx, 0), ctx.constant(Tensor::of<int64_t>({forest.size(), 5}, forest.nodes)),
                                  doubles(forest.splits), integers(forest.roots), integers(starts), integers(voted),
                                  doubles(weights)});
}

// ---- TreeEnsembleRegressor and TreeEnsembleClassifier: lists of nodes, named by tree and number

// Numbers under NAME or NAME_as_tensor.
std::vector<double> numbers(Context& ctx, const std::string& name) {
  if (!ctx.has_attr(name + "_as_tensor")) return ctx.attr_floats(name);
  const Tensor tensor = ctx.attr_tensor(name + "_as_tensor");
  std::vector<double> values;
  for (int64_t i = 0; i < tensor.elements(); ++i) values.push_back(tensor.read_double(i));
  return values;
}

int64_t comparison_of(Context& ctx, const std::string& mode) {
  static constexpr std::string_view kModes[] = {"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE",
                                                "BRANCH_GT",  "BRANCH_EQ", "BRANCH_NEQ"};
  const auto* found = std::find(std::begin(kModes), std::end(kModes), mode);
  if (found == std::end(kModes)) ctx.invalid("a node's mode is " + mode);
  return found - std::begin(kModes);
}

class NamedForest {
 public:
  // `votes`: "class" or "target", what the attributes about leaves begin with.
  NamedForest(Context& ctx, const std::string& votes) : ctx_(ctx) {
    read_nodes();
    read_votes(votes);
  }
  Forest forest;
  std::set<int64_t> targets;  // that are voted for

 private:
  using Name = std::pair<int64_t, int64_t>;  // tree, node

  void expect_size(size_t size) const {
    if (size != names_.size()) ctx_.invalid("the lists of nodes differ in length");
  }

  int64_t place(const Name& name) const {
    const auto found = places_.find(name);
    if (found == places_.end()) ctx_.invalid("a node's successor is not there");
    return found->second;
  }

  void read_nodes() {
    const auto trees = ctx_.attr_ints("nodes_treeids"), ids = ctx_.attr_ints("nodes_nodeids");
    const auto modes = ctx_.attr_strings("nodes_modes");
    if (trees.size() != ids.size() || trees.size() != modes.size()) ctx_.invalid("the lists of nodes differ in length");
    for (size_t i = 0; i < trees.size(); ++i) names_.emplace_back(trees[i], ids[i]);
    int64_t inner = 0;
    for (size_t i = 0; i < names_.size(); ++i) {
      const bool leaf = modes[i] == "LEAF";
      places_[names_[i]] = leaf ? Forest::leaf(forest.leaves.size()) : inner++;
      if (leaf) forest.leaves.emplace_back();
    }
    link(modes);
  }

  void link(const std::vector<std::string>& modes) {
    const auto features = ctx_.attr_ints("nodes_featureids");
    const auto if_true = ctx_.attr_ints("nodes_truenodeids"), if_false = ctx_.attr_ints("nodes_falsenodeids");
    const auto nan = ctx_.attr_ints("nodes_missing_value_tracks_true");
    const auto splits = numbers(ctx_, "nodes_values");
    for (const size_t size : {features.size(), if_true.size(), if_false.size(), splits.size()}) expect_size(size);
    std::set<int64_t> successors;
    for (size_t i = 0; i < names_.size(); ++i) {
      if (modes[i] == "LEAF") continue;
      const int64_t yes = place({names_[i].first, if_true[i]}), no = place({names_[i].first, if_false[i]});
      successors.insert({yes, no});
      forest.add_node(comparison_of(ctx_, modes[i]), features[i], yes, no, i < nan.size() && nan[i] != 0, splits[i]);
    }
    for (const Name& name : names_)
      if (successors.count(place(name)) == 0) forest.roots.push_back(place(name));
  }

  void read_votes(const std::string& votes) {
    const auto trees = ctx_.attr_ints(votes + "_treeids"), ids = ctx_.attr_ints(votes + "_nodeids");
    const auto voted = ctx_.attr_ints(votes + "_ids");
    const auto weights = numbers(ctx_, votes + "_weights");
    if (trees.size() != ids.size() || trees.size() != voted.size() || trees.size() != weights.size())
      ctx_.invalid("the lists of votes differ in length");
    for (size_t i = 0; i < trees.size(); ++i) {
      const int64_t leaf = place({trees[i], ids[i]});
      if (leaf >= 0) ctx_.invalid("a node that is no leaf has votes");
      forest.leaves[static_cast<size_t>(-1 - leaf)].push_back({voted[i], weights[i]});
      targets.insert(voted[i]);
    }
  }

  Context& ctx_;
  std::vector<Name> names_;
  std::map<Name, int64_t> places_;
};

// Scores with `base_values`, one for each column or one for all.
Value* with_base(Context& ctx, Value* scores) {
  const std::vector<double> base = numbers(ctx, "base_values");
  if (base.empty()) return scores;
  Tensor tensor(scores->dtype(), {static_cast<int64_t>(base.size())});
  for (size_t i = 0; i < base.size(); ++i) tensor.write_double(static_cast<int64_t>(i), base[i]);
  return ctx.binary(MapOp::add, scores, ctx.constant(std::move(tensor)));
}

int64_t joining_of(Context& ctx, const std::string& name) {
  static constexpr std::string_view kNames[] = {"SUM", "AVERAGE", "MIN", "MAX"};
  const auto* found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames)) ctx.invalid("aggregate_function is " + name);
  return found - std::begin(kNames);
}

void import_regressor(Context& ctx) {
  const NamedForest named(ctx, "target");
  const int64_t joining = joining_of(ctx, ctx.attr_string("aggregate_function", "SUM"));
  Value* scores = run_forest(ctx, named.forest, ctx.required_int("n_targets"), joining);
  ctx.set_output(0, post_transformed(ctx, ctx.cast(with_base(ctx, scores), DType::f32)));
}

// Where the votes of a classifier of two classes all go to one, that is the second, whichever number it has: a
// probability if no vote is negative, else a score around 0.
Value* second_score(Context& ctx, const NamedForest& named) {
  Forest forest = named.forest;
  for (auto& votes : forest.leaves)
    for (Vote& vote : votes) vote.target = 0;
  Value* score = run_forest(ctx, forest, 1, 0);
  const std::vector<double> base = numbers(ctx, "base_values");
  if (!base.empty()) {
    score = ctx.map({score}, [&](MapProgram& p, const auto& in) {
      return p.binary(MapOp::add, in[0], p.constant(base.back(), score->dtype()));
    });
  }
  return ctx.cast(score, DType::f32);
}

void import_classifier(Context& ctx) {
  const NamedForest named(ctx, "class");
  const Tensor labels = class_labels(ctx, "classlabels_int64s", "classlabels_strings");
  if (labels.elements() == 2 && named.targets.size() == 1) {
    const bool is_probability = named.forest.all_positive();
    Value* score = second_score(ctx, named);
    ctx.set_output(0, best_labels(ctx, labels, two_columns(ctx, score, is_probability)));
    return ctx.set_output(1, two_scores(ctx, score, is_probability));
  }
  Value* scores = ctx.cast(with_base(ctx, run_forest(ctx, named.forest, labels.elements(), 0)), DType::f32);
  ctx.set_output(0, best_labels(ctx, labels, scores));
  ctx.set_output(1, post_transformed(ctx, scores));
}

// ---- TreeEnsemble: inner nodes and leaves in lists of their own

constexpr int64_t kMember = 6;

// Whether an element is in a set becomes a chain of comparisons, from which the true branch is taken at the first that
// holds; the node itself compares with the first member, the others stand at the end of the table.
class IndexedForest {
 public:
  explicit IndexedForest(Context& ctx)
      : ctx_(ctx),
        if_true_(ctx.attr_ints("nodes_truenodeids")),
        if_false_(ctx.attr_ints("nodes_falsenodeids")),
        true_is_leaf_(ctx.attr_ints("nodes_trueleafs")),
        false_is_leaf_(ctx.attr_ints("nodes_falseleafs")) {
    read_leaves();
    read_nodes();
    for (const int64_t root : ctx.attr_ints("tree_roots")) add_root(root);
  }
  Forest forest;

 private:
  static std::vector<double> values(Context& ctx, std::string_view name) {
    std::vector<double> result;
    const Tensor tensor = ctx.attr_tensor(name);
    for (int64_t i = 0; i < tensor.elements(); ++i) result.push_back(tensor.read_double(i));
    return result;
  }

  int64_t next(const std::vector<int64_t>& ids, const std::vector<int64_t>& are_leaves, size_t i) const {
    if (ids[i] < 0) ctx_.invalid("a node's successor is not there");
    return are_leaves[i] != 0 ? Forest::leaf(static_cast<size_t>(ids[i])) : ids[i];
  }

  void read_leaves() {
    const auto targets = ctx_.attr_ints("leaf_targetids");
    const auto weights = values(ctx_, "leaf_weights");
    if (targets.size() != weights.size()) ctx_.invalid("the lists of leaves differ in length");
    for (size_t i = 0; i < targets.size(); ++i) forest.leaves.push_back({{targets[i], weights[i]}});
  }

  void read_nodes() {
    const auto features = ctx_.attr_ints("nodes_featureids"), nan = ctx_.attr_ints("nodes_missing_value_tracks_true");
    const auto splits = values(ctx_, "nodes_splits"), modes = values(ctx_, "nodes_modes");
    for (const size_t size :
         {splits.size(), modes.size(), if_true_.size(), if_false_.size(), true_is_leaf_.size(), false_is_leaf_.size()})
      if (size != features.size()) ctx_.invalid("the lists of nodes differ in length");
    const std::vector<double> members =
        ctx_.has_attr("membership_values") ? values(ctx_, "membership_values") : std::vector<double>();
    auto member = members.begin();
    std::vector<std::array<double, 2>> chained;  // members that come later: value and node
    for (size_t i = 0; i < features.size(); ++i) {
      auto mode = static_cast<int64_t>(modes[i]);
      if (mode < 0 || mode > kMember) ctx_.invalid("a node's mode is not known");
      double split = splits[i];
      if (mode == kMember) {
        std::vector<double> set;
        for (; member != members.end() && !std::isnan(*member); ++member) set.push_back(*member);
        if (member == members.end()) ctx_.invalid("a node lacks its members");
        ++member;
        split = set.empty() ? std::nan("") : set[0];
        for (size_t m = 1; m < set.size(); ++m) chained.push_back({set[m], static_cast<double>(i)});
        mode = 4;
      }
      forest.add_node(mode, features[i], next(if_true_, true_is_leaf_, i), next(if_false_, false_is_leaf_, i),
                      i < nan.size() && nan[i] != 0, split);
    }
    for (const auto& [value, node] : chained) chain(value, static_cast<size_t>(node));
  }

  // Another comparison of the node, tried after it.
  void chain(double value, size_t node) {
    int64_t* fields = &forest.nodes[node * 5];
    const std::array<int64_t, 5> copy = {fields[0], fields[1], fields[2], fields[3], fields[4]};
    fields[3] = forest.size();
    forest.add_node(copy[0], copy[1], copy[2], copy[3], copy[4] != 0, value);
  }

  // A tree of one leaf is a node both of whose successors are that.
  void add_root(int64_t root) {
    if (root < 0 || root >= static_cast<int64_t>(if_true_.size())) ctx_.invalid("a tree's root is not there");
    forest.roots.push_back(root);
  }

  Context& ctx_;
  std::vector<int64_t> if_true_, if_false_, true_is_leaf_, false_is_leaf_;
};

void import_ensemble(Context& ctx) {
  const IndexedForest indexed(ctx);
  static constexpr int64_t kJoinings[] = {1, 0, 2, 3};  // average, sum, minimum, maximum
  const int64_t joining = ctx.attr_int("aggregate_function", 1), transform = ctx.attr_int("post_transform", 0);
  if (joining < 0 || joining > 3) ctx.invalid("aggregate_function is not known");
  if (transform != 0) ctx.unsupported("post_transform other than none");
  ctx.set_output(0, run_forest(ctx, indexed.forest, ctx.required_int("n_targets"), kJoinings[joining]));
}

constexpr OpRow kRows[] = {
    {kMachineLearning, "TreeEnsemble", 5, import_ensemble},
    {kMachineLearning, "TreeEnsembleClassifier", 1, import_classifier},
    {kMachineLearning, "TreeEnsembleRegressor", 1, import_regressor},
};

}  // namespace

std::span<const OpRow> decision_tree_ops() { return kRows; }

}  // namespace lathe::onnx
