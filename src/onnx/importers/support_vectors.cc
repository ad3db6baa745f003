// Support vector machines (ai.onnx.ml): kernels of rows and vectors are products, and so are the scores and votes that
// follow from them.
#include <algorithm>
#include <numeric>

#include "onnx/importers/learned.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

// Similarity of the rows of x to each support vector, [rows, vectors].
Value* kernel_values(Context& ctx, Value* x, Value* vectors) {
  const std::string kernel = ctx.attr_string("kernel_type", "LINEAR");
  std::vector<double> parameters = ctx.attr_floats("kernel_params");
  parameters.resize(3);
  const double gamma = parameters[0], offset = parameters[1], degree = parameters[2];
  if (kernel == "RBF") {
    Value* distance =
        ctx.reduce(ReduceKind::sum_square, ctx.binary(MapOp::sub, ctx.unsqueeze(x, {1}), vectors), {2}, false);
    return ctx.map({distance}, [&](MapProgram& p, const auto& in) {
      return p.unary(MapOp::exp, p.binary(MapOp::mul, in[0], p.constant(-gamma, DType::f32)));
    });
  }
  Value* product = ctx.matmul(x, vectors, false, true);
  if (kernel == "LINEAR") return product;
  if (kernel != "POLY" && kernel != "SIGMOID") ctx.invalid("the kernel is not known");
  return ctx.map({product}, [&](MapProgram& p, const auto& in) {
    const int inner = p.binary(MapOp::add, p.binary(MapOp::mul, in[0], p.constant(gamma, DType::f32)),
                               p.constant(offset, DType::f32));
    if (kernel == "SIGMOID") return p.unary(MapOp::tanh, inner);
    return p.binary(MapOp::pow, inner, p.constant(degree, DType::f32));
  });
}

// The attribute as a matrix of `rows`.
Value* matrix(Context& ctx, std::string_view name, int64_t rows) {
  const auto elements = static_cast<int64_t>(ctx.attr_floats(name).size());
  if (rows < 1 || elements % rows != 0) ctx.invalid(fmt::format("the {} do not form {} rows", name, rows));
  return ctx.reshape(float_list(ctx, name), {rows, elements / rows});
}

void import_regressor(Context& ctx) {
  Value* x = ctx.cast(rows_of(ctx, 0), DType::f32);
  const int64_t vectors = ctx.attr_int("n_supports", 0);
  Value* weights = matrix(ctx, "coefficients", 1);
  if (vectors > 0) {
    if (!(weights->shape()[1] == Dim(vectors))) ctx.invalid("support vectors and coefficients differ in number");
    x = kernel_values(ctx, x, matrix(ctx, "support_vectors", vectors));
  }
  Value* score = ctx.binary(MapOp::add, ctx.matmul(x, weights, false, true), float_list(ctx, "rho"));
  if (ctx.attr_bool("one_class", false))
    score = ctx.map({score}, [&](MapProgram& p, const auto& in) {
      return p.select(p.binary(MapOp::gt, in[0], p.constant(0, DType::f32)), p.constant(1, DType::f32),
                      p.constant(-1, DType::f32));
    });
  ctx.set_output(0, post_transformed(ctx, score));
}

// --- classifiers: of each pair of classes i < j one decides, by the support vectors of these two

struct Pairs {
  std::vector<int64_t> vectors;  // of each class
  int64_t count = 0;             // of pairs

  int64_t classes() const { return static_cast<int64_t>(vectors.size()); }
  int64_t all_vectors() const { return std::accumulate(vectors.begin(), vectors.end(), int64_t{0}); }
};

Pairs read_pairs(Context& ctx, int64_t classes) {
  Pairs pairs{ctx.attr_ints("vectors_per_class"), classes * (classes - 1) / 2};
  const auto negative = [](int64_t n) { return n < 0 || n > INT32_MAX; };
  if (pairs.classes() != classes || std::any_of(pairs.vectors.begin(), pairs.vectors.end(), negative))
    ctx.invalid("vectors_per_class does not fit the classes");
  const auto enough = [&](std::string_view name, int64_t count) {
    return static_cast<int64_t>(ctx.attr_floats(name).size()) == count;
  };
  if (!enough("coefficients", (classes - 1) * pairs.all_vectors()) || !enough("rho", pairs.count))
    ctx.invalid("coefficients and rho do not fit the pairs of classes");
  if (ctx.has_attr("prob_a") && (!enough("prob_a", pairs.count) || !enough("prob_b", pairs.count)))
    ctx.invalid("prob_a and prob_b do not fit the pairs of classes");
  return pairs;
}

// How much a vector counts for each pair, [vectors, pairs]. The attribute holds for each vector the coefficients
// against all other classes, in order: row j - 1 if its class i comes before j, else row j.
Value* pair_weights(Context& ctx, const Pairs& pairs) {
  const std::vector<double> coefficients = ctx.attr_floats("coefficients");
  const int64_t all = pairs.all_vectors();
  Tensor weights(DType::f32, {all, pairs.count});
  const auto copy = [&](int64_t first, int64_t count, int64_t row, int64_t pair) {
    for (int64_t v = first; v < first + count; ++v)
      weights.write_double(v * pairs.count + pair, coefficients[static_cast<size_t>(row * all + v)]);
  };
  int64_t pair = 0, first_i = 0;
  for (int64_t i = 0; i < pairs.classes(); ++i) {
    const int64_t of_i = pairs.vectors[static_cast<size_t>(i)];
    int64_t first_j = first_i + of_i;
    for (int64_t j = i + 1; j < pairs.classes(); ++j, ++pair) {
      const int64_t of_j = pairs.vectors[static_cast<size_t>(j)];
      copy(first_i, of_i, j - 1, pair);
      copy(first_j, of_j, i, pair);
      first_j += of_j;
    }
    first_i += of_i;
  }
  return ctx.constant(std::move(weights));
}

// How many pairs each class wins, f32 [rows, classes].
Value* votes(Context& ctx, const Pairs& pairs, Value* scores) {
  Tensor winners(DType::f32, {2 * pairs.count, pairs.classes()});
  int64_t pair = 0;
  for (int64_t i = 0; i < pairs.classes(); ++i) {
    for (int64_t j = i + 1; j < pairs.classes(); ++j, ++pair) {
      winners.write_double(pair * pairs.classes() + i, 1);
      winners.write_double((pairs.count + pair) * pairs.classes() + j, 1);
    }
  }
  Value* first_wins = ctx.map({scores}, [](MapProgram& p, const auto& in) {
    return p.cast(p.binary(MapOp::gt, in[0], p.constant(0, DType::f32)), DType::f32);
  });
  Value* second_wins = ctx.binary(MapOp::sub, ctx.scalar(1, DType::f32), first_wins);
  return ctx.matmul(ctx.concat({first_wins, second_wins}, 1), ctx.constant(std::move(winners)));
}

// Each score becomes the probability of the first class of its pair, and these those of all classes.
Value* probabilities(Context& ctx, const Pairs& pairs, Value* scores) {
  Value* first =
      ctx.map({scores, float_list(ctx, "prob_a"), float_list(ctx, "prob_b")}, [](MapProgram& p, const auto& in) {
        const auto real = [&](double v) { return p.constant(v, DType::f32); };
        const int line = p.binary(MapOp::add, p.binary(MapOp::mul, in[0], in[1]), in[2]);
        const int likely = p.unary(MapOp::sigmoid, p.unary(MapOp::neg, line));
        return p.binary(MapOp::min, p.binary(MapOp::max, likely, real(1e-7)), real(1 - 1e-7));
      });
  Extern op;
  op.kernel = "coupled_probabilities";
  op.integers = {pairs.classes()};
  return ctx.emit(std::move(op), {first});
}

// Without support vectors the coefficients are a line for each class. Of two classes the second wins as soon as any
// score says so; what says so depends on whether coefficients can be negative.
void import_linear(Context& ctx, const Tensor& labels, Value* x) {
  Value* scores = ctx.binary(MapOp::add, ctx.matmul(x, matrix(ctx, "coefficients", labels.elements()), false, true),
                             ctx.scalar(ctx.attr_floats("rho").empty() ? 0 : ctx.attr_floats("rho")[0], DType::f32));
  Value* best = ctx.emit(ArgReduce{true, 1, false, false}, {scores});
  if (labels.elements() == 2 && !ctx.has_attr("prob_a")) {
    const std::vector<double> weights = ctx.attr_floats("coefficients");
    const bool positive = std::all_of(weights.begin(), weights.end(), [](double w) { return w >= 0; });
    best = ctx.map({best, ctx.reduce(ReduceKind::max, scores, {1}, false)}, [&](MapProgram& p, const auto& in) {
      const int wins = p.binary(positive ? MapOp::ge : MapOp::gt, in[1], p.constant(positive ? 0.5 : 0, DType::f32));
      return p.select(wins, p.constant_int(1, DType::i64), in[0]);
    });
  }
  ctx.set_output(0, ctx.gather(ctx.constant(labels), best, 0));
  ctx.set_output(1, post_transformed(ctx, scores));
}

void import_classifier(Context& ctx) {
  const Tensor labels = class_labels(ctx, "classlabels_ints", "classlabels_strings");
  Value* x = ctx.cast(rows_of(ctx, 0), DType::f32);
  if (ctx.attr_ints("vectors_per_class").empty()) return import_linear(ctx, labels, x);
  const Pairs pairs = read_pairs(ctx, labels.elements());
  x = kernel_values(ctx, x, matrix(ctx, "support_vectors", pairs.all_vectors()));
  Value* scores = ctx.binary(MapOp::add, ctx.matmul(x, pair_weights(ctx, pairs)), float_list(ctx, "rho"));
  ctx.set_output(0, best_labels(ctx, labels, votes(ctx, pairs, scores)));
  const bool transformed = ctx.attr_string("post_transform", "NONE") != "NONE";
  if (ctx.has_attr("prob_a"))
    ctx.set_output(1, post_transformed(ctx, probabilities(ctx, pairs, scores)));
  else
    ctx.set_output(1, pairs.count == 1 ? two_scores(ctx, scores, transformed) : post_transformed(ctx, scores));
}

constexpr OpRow kRows[] = {
    {kMachineLearning, "SVMClassifier", 1, import_classifier},
    {kMachineLearning, "SVMRegressor", 1, import_regressor},
};

}  // namespace

std::span<const OpRow> support_vector_ops() { return kRows; }

}  // namespace lathe::onnx
