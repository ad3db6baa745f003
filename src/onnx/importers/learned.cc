// Classical machine learning (ai.onnx.ml) but for trees and support vectors: features are scaled, encoded and put
// together, and linear models score them. Dictionaries are the host's (graph/externs/learned.cc), all else is
// arithmetic.
#include "onnx/importers/learned.h"

#include <cmath>
#include <numeric>

#include "onnx/importers/strings.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

// ---- columns

void import_array_feature_extractor(Context& ctx) {
  Value* x = ctx.rank(0) == 1 ? rows_of(ctx, 0) : ctx.input(0);
  Value* columns = ctx.reshape(ctx.input(1), {product(ctx.shape(1))});
  ctx.set_output(0, ctx.gather(x, columns, x->type().rank() - 1));
}

void import_binarizer(Context& ctx) {
  Value* x = ctx.input(0);
  const double threshold = ctx.attr_float("threshold", 0);
  ctx.set_output(0, ctx.map({x}, [&](MapProgram& p, const auto& in) {
    return p.cast(p.binary(MapOp::gt, in[0], p.constant(threshold, x->dtype())), x->dtype());
  }));
}

void import_feature_vectorizer(Context& ctx) {
  std::vector<Value*> parts;
  const std::vector<int64_t> columns = ctx.attr_ints("inputdimensions");
  for (size_t i = 0; i < ctx.num_inputs(); ++i) {
    Value* part = ctx.cast(ctx.input(i), DType::f32);
    if (ctx.rank(i) == 1) part = ctx.unsqueeze(part, {1});
    const Dim width = part->type().rank() == 2 ? part->shape()[1] : Dim(-1);
    if (width == Dim(-1) || (i < columns.size() && width.is_constant() && width.value() != columns[i]))
      ctx.invalid("an input has other columns than inputdimensions says");
    parts.push_back(part);
  }
  ctx.set_output(0, ctx.concat(std::move(parts), 1));
}

void import_imputer(Context& ctx) {
  Value* x = ctx.input(0);
  const bool real = is_float(x->dtype());
  Value* values = real ? ctx.cast(float_list(ctx, "imputed_value_floats"), x->dtype())
                       : ctx.constant(integers_tensor(ctx.attr_ints("imputed_value_int64s")));
  const double replaced = real ? ctx.attr_float("replaced_value_float", 0) : 0;
  const int64_t replaced_integer = ctx.attr_int("replaced_value_int64", 0);
  ctx.set_output(0, ctx.map({x, values}, [&](MapProgram& p, const auto& in) {
    const int missing = std::isnan(replaced) ? p.unary(MapOp::is_nan, in[0])
                        : real               ? p.binary(MapOp::eq, in[0], p.constant(replaced, x->dtype()))
                                             : p.binary(MapOp::eq, in[0], p.constant_int(replaced_integer, x->dtype()));
    return p.select(missing, in[1], in[0]);
  }));
}

void import_normalizer(Context& ctx) {
  Value* x = ctx.cast(ctx.input(0), DType::f32);
  const std::string norm = ctx.attr_string("norm", "MAX");
  const std::vector<int64_t> axes = {ctx.rank(0) - 1};
  Value* size = norm == "L2"    ? ctx.unary(MapOp::sqrt, ctx.reduce(ReduceKind::sum_square, x, axes))
                : norm == "L1"  ? ctx.reduce(ReduceKind::sum, ctx.unary(MapOp::abs, x), axes)
                : norm == "MAX" ? ctx.reduce(ReduceKind::max, x, axes)
                                : nullptr;
  if (size == nullptr) ctx.invalid("norm is none of MAX, L1 and L2");
  ctx.set_output(0, ctx.map({x, size}, [&](MapProgram& p, const auto& in) {  // a row of size 0 stays
    const int zero = p.constant(0, DType::f32), one = p.constant(1, DType::f32);
    return p.binary(MapOp::div, in[0], p.select(p.binary(MapOp::eq, in[1], zero), one, in[1]));
  }));
}

void import_scaler(Context& ctx) {
  Value* x = ctx.cast(ctx.input(0), DType::f32);
  if (ctx.has_attr("offset")) x = ctx.binary(MapOp::sub, x, float_list(ctx, "offset"));
  if (ctx.has_attr("scale")) x = ctx.binary(MapOp::mul, x, float_list(ctx, "scale"));
  ctx.set_output(0, x);
}

// ---- dictionaries

Value* lookup(Context& ctx, Value* x, Value* keys, Value* values, const Tensor& other, bool strict = false) {
  Extern op;
  op.kernel = "lookup";
  op.integers = {strict};
  return ctx.emit(std::move(op), {x, keys, values, ctx.constant(other.reshaped({1}))});
}

Value* lookup(Context& ctx, Value* x, Tensor keys, Tensor values, const Tensor& other, bool strict = false) {
  if (keys.elements() != values.elements()) ctx.invalid("keys and values differ in number");
  return lookup(ctx, x, ctx.constant(std::move(keys)), ctx.constant(std::move(values)), other, strict);
}

// The attribute that is there of PREFIX_strings, PREFIX_int64s, PREFIX_floats, PREFIX_tensor.
Tensor entries(Context& ctx, const std::string& prefix) {
  if (ctx.has_attr(prefix + "_strings")) return strings_tensor(ctx.attr_strings(prefix + "_strings"));
  if (ctx.has_attr(prefix + "_int64s")) return integers_tensor(ctx.attr_ints(prefix + "_int64s"));
  if (ctx.has_attr(prefix + "_tensor")) return ctx.attr_tensor(prefix + "_tensor");
  const std::vector<double> values = ctx.attr_floats(prefix + "_floats");
  return Tensor::of<float>({static_cast<int64_t>(values.size())}, std::vector<float>(values.begin(), values.end()));
}

Tensor default_value(Context& ctx, DType dtype) {
  if (ctx.has_attr("default_tensor")) return ctx.attr_tensor("default_tensor");
  if (dtype == DType::string) return strings_tensor({ctx.attr_string("default_string", "_Unused")});
  if (dtype == DType::i64) return integers_tensor({ctx.attr_int("default_int64", -1)});
  Tensor zero(dtype, {1});
  zero.write_double(0, ctx.attr_float("default_float", -0.0));
  return zero;
}

void import_label_encoder(Context& ctx) {
  Value* x = ctx.input(0);
  Tensor keys, values;
  if (ctx.opset() < 2) {  // between strings and their places
    values = strings_tensor(ctx.attr_strings("classes_strings"));
    std::vector<int64_t> places(static_cast<size_t>(values.elements()));
    std::iota(places.begin(), places.end(), 0);
    keys = integers_tensor(places);
    if (x->dtype() == DType::string) std::swap(keys, values);
  } else {
    keys = entries(ctx, "keys");
    values = entries(ctx, "values");
  }
  if (keys.dtype() != x->dtype()) ctx.invalid("the keys are of another type than the input");
  const Tensor other = default_value(ctx, values.dtype());
  ctx.set_output(0, lookup(ctx, x, std::move(keys), std::move(values), other));
}

void import_category_mapper(Context& ctx) {
  Tensor keys = strings_tensor(ctx.attr_strings("cats_strings"));
  Tensor values = integers_tensor(ctx.attr_ints("cats_int64s"));
  if (ctx.dtype(0) != DType::string) std::swap(keys, values);
  const Tensor other = default_value(ctx, values.dtype());
  ctx.set_output(0, lookup(ctx, ctx.input(0), std::move(keys), std::move(values), other));
}

void import_one_hot_encoder(Context& ctx) {
  const bool strings = ctx.dtype(0) == DType::string;
  Value* x = strings ? ctx.input(0) : ctx.cast(ctx.input(0), DType::i64);
  Tensor keys =
      strings ? strings_tensor(ctx.attr_strings("cats_strings")) : integers_tensor(ctx.attr_ints("cats_int64s"));
  std::vector<int64_t> places(static_cast<size_t>(keys.elements()));
  std::iota(places.begin(), places.end(), 0);
  Shape shape = ctx.shape(0);
  shape.push_back(keys.elements());
  Value* place =
      lookup(ctx, x, std::move(keys), integers_tensor(places), integers_tensor({-1}), !ctx.attr_bool("zeros", true));
  ctx.set_output(
      0, ctx.map(
             {ctx.unsqueeze(place, {ctx.rank(0)})},
             [&](MapProgram& p, const auto& in) { return p.cast(p.binary(MapOp::eq, p.iota(-1), in[0]), DType::f32); },
             std::move(shape)));
}

// ---- linear models, distances

// x times the rows of the attribute, plus `intercepts`.
Value* linear_scores(Context& ctx, int64_t count) {
  Value* x = rows_of(ctx, 0);
  Value* weights = float_list(ctx, "coefficients");
  const int64_t elements = static_cast<int64_t>(ctx.attr_floats("coefficients").size());
  if (count <= 0 || elements % count != 0) ctx.invalid("the coefficients do not form rows");
  Value* scores = ctx.matmul(ctx.cast(x, DType::f32), ctx.reshape(weights, {count, elements / count}), false, true);
  return ctx.has_attr("intercepts") ? ctx.binary(MapOp::add, scores, float_list(ctx, "intercepts")) : scores;
}

void import_linear_regressor(Context& ctx) {
  ctx.set_output(0, post_transformed(ctx, linear_scores(ctx, ctx.attr_int("targets", 1))));
}

void import_linear_classifier(Context& ctx) {
  const Tensor labels = class_labels(ctx, "classlabels_ints", "classlabels_strings");
  const auto intercepts = ctx.attr_floats("intercepts").size();
  const Dim elements(static_cast<int64_t>(ctx.attr_floats("coefficients").size()));
  // The score of the second class alone.
  const bool single = labels.elements() == 2 && (intercepts == 1 || ctx.shape(0).back() == elements);
  Value* scores = linear_scores(ctx, single ? 1 : labels.elements());
  ctx.set_output(0, best_labels(ctx, labels, single ? two_columns(ctx, scores, false) : scores));
  ctx.set_output(1, single ? two_scores(ctx, scores, true) : post_transformed(ctx, scores));
}

// Distances between the rows of two matrices, which nearest neighbours are found by.
void import_cdist(Context& ctx) {
  const std::string metric = ctx.attr_string("metric", "sqeuclidean");
  if (metric != "euclidean" && metric != "sqeuclidean") ctx.unsupported("the metric is " + metric);
  Value* difference = ctx.binary(MapOp::sub, ctx.unsqueeze(ctx.input(0), {1}), ctx.input(1));
  Value* squared = ctx.reduce(ReduceKind::sum_square, difference, {2}, false);
  ctx.set_output(0, metric == "euclidean" ? ctx.unary(MapOp::sqrt, squared) : squared);
}

// ---- maps (scope.h)

// The labels of classes, under the attribute that is there.
Tensor labels_of(Context& ctx, std::string_view strings, std::string_view integers) {
  return ctx.has_attr(strings) ? strings_tensor(ctx.attr_strings(strings)) : integers_tensor(ctx.attr_ints(integers));
}

// One number or string, of which an absent entry of a map is made.
Tensor nothing_of(DType dtype, std::string_view text = "") {
  return dtype == DType::string ? strings_tensor({std::string(text)}) : Tensor(dtype, {1});
}

void import_zip_map(Context& ctx) {
  Tensor labels = labels_of(ctx, "classlabels_strings", "classlabels_int64s");
  Value* scores = rows_of(ctx, 0);
  const Dim& columns = scores->shape()[1];
  if (columns.is_constant() && columns.value() != labels.elements())
    ctx.invalid(fmt::format("there are {} labels for {} columns", labels.elements(), columns.value()));
  ctx.set_output_map(0, std::move(labels), scores);
}

void import_dict_vectorizer(Context& ctx) {
  const Tensor vocabulary = labels_of(ctx, "string_vocabulary", "int64_vocabulary");
  Value *keys = ctx.map_keys(0), *values = ctx.map_values(0);
  if (values->type().rank() != 1) ctx.unsupported("the operand is a sequence of maps");
  Value* columns = ctx.constant(vocabulary.reshaped({1, vocabulary.elements()}));
  ctx.set_output(0, lookup(ctx, columns, keys, values, nothing_of(values->dtype())));
}

// The values in the order of their keys, or each in the column that is its key; keys that are no column have no place.
void import_cast_map(Context& ctx) {
  const std::string to = ctx.attr_string("cast_to", "TO_FLOAT"), form = ctx.attr_string("map_form", "DENSE");
  if (to != "TO_FLOAT" && to != "TO_STRING" && to != "TO_INT64") ctx.invalid("cast_to is not known");
  if (form != "DENSE" && form != "SPARSE") ctx.invalid("map_form is neither DENSE nor SPARSE");
  const DType dtype = to == "TO_FLOAT" ? DType::f32 : to == "TO_INT64" ? DType::i64 : DType::string;
  Value* keys = ctx.map_keys(0);
  Value* values = converted(ctx, ctx.map_values(0), dtype, NumberFormat::fixed);
  if (values->type().rank() != 1) ctx.unsupported("the operand is a sequence of maps");
  if (keys->dtype() != DType::i64) ctx.invalid("the keys are no integers");
  if (form == "SPARSE") {
    Value* columns = ctx.iota({1, ctx.attr_int("max_map", 1)}, -1);
    // ONNX Runtime, which alone has this operator, writes zeros so.
    return ctx.set_output(0, lookup(ctx, columns, keys, values, nothing_of(dtype, "0.f")));
  }
  TopK sort;
  sort.k = keys->shape()[0];
  sort.axis = 0;
  sort.largest = false;
  ctx.set_output(0, ctx.unsqueeze(ctx.gather(values, ctx.append(sort, {keys}, 2)->output(1), 0), {0}));
}

constexpr OpRow kRows[] = {
    {kMachineLearning, "ArrayFeatureExtractor", 1, import_array_feature_extractor},
    {kMachineLearning, "Binarizer", 1, import_binarizer},
    {kMachineLearning, "CastMap", 1, import_cast_map},
    {kMachineLearning, "CategoryMapper", 1, import_category_mapper},
    {kMachineLearning, "DictVectorizer", 1, import_dict_vectorizer},
    {kMachineLearning, "FeatureVectorizer", 1, import_feature_vectorizer},
    {kMachineLearning, "Imputer", 1, import_imputer},
    {kMachineLearning, "LabelEncoder", 1, import_label_encoder},
    {kMachineLearning, "LinearClassifier", 1, import_linear_classifier},
    {kMachineLearning, "LinearRegressor", 1, import_linear_regressor},
    {kMachineLearning, "Normalizer", 1, import_normalizer},
    {kMachineLearning, "OneHotEncoder", 1, import_one_hot_encoder},
    {kMachineLearning, "Scaler", 1, import_scaler},
    {kMachineLearning, "ZipMap", 1, import_zip_map},
    {kMicrosoft, "CDist", 1, import_cdist},
};

}  // namespace

Value* rows_of(Context& ctx, size_t input) {
  const int64_t rank = ctx.rank(input);
  if (rank == 1) return ctx.unsqueeze(ctx.input(input), {0});
  if (rank != 2) ctx.unsupported(fmt::format("features of rank {}", rank));
  return ctx.input(input);
}

Value* post_transformed(Context& ctx, Value* scores) {
  const std::string transform = ctx.attr_string("post_transform", "NONE");
  if (transform == "NONE") return scores;
  if (transform == "LOGISTIC") return ctx.unary(MapOp::sigmoid, scores);
  if (transform == "SOFTMAX") return ctx.emit(Softmax{1, false, false}, {scores});
  if (transform != "SOFTMAX_ZERO") ctx.unsupported("post_transform is " + transform);
  // Scores of zero stay close to it.
  Value* largest = ctx.reduce(ReduceKind::max, scores, {1});
  Value* powers = ctx.map({scores, largest}, [&](MapProgram& p, const auto& in) {
    const int counts = p.binary(MapOp::gt, p.unary(MapOp::abs, in[0]), p.constant(1e-7, DType::f32));
    const int power = p.unary(MapOp::exp, p.binary(MapOp::sub, in[0], in[1]));
    return p.select(counts, power, p.binary(MapOp::mul, in[0], p.unary(MapOp::exp, p.unary(MapOp::neg, in[1]))));
  });
  return ctx.binary(MapOp::div, powers, ctx.reduce(ReduceKind::sum, powers, {1}));
}

Value* two_columns(Context& ctx, Value* score, bool is_probability) {
  Value* other =
      is_probability ? ctx.binary(MapOp::sub, ctx.scalar(1, score->dtype()), score) : ctx.unary(MapOp::neg, score);
  return ctx.concat({other, score}, 1);
}

// A softmax would weigh the score against what is derived from it: the field leaves both alone.
Value* two_scores(Context& ctx, Value* score, bool is_probability) {
  if (ctx.attr_string("post_transform", "NONE") != "LOGISTIC") return two_columns(ctx, score, is_probability);
  return ctx.unary(MapOp::sigmoid, two_columns(ctx, score, false));
}

Tensor class_labels(Context& ctx, std::string_view integers, std::string_view strings) {
  Tensor labels = ctx.has_attr(strings) && !ctx.attr_strings(strings).empty()
                      ? strings_tensor(ctx.attr_strings(strings))
                      : integers_tensor(ctx.attr_ints(integers));
  if (labels.elements() < 2) ctx.unsupported("a classifier of fewer than two classes");
  return labels;
}

Value* best_labels(Context& ctx, const Tensor& labels, Value* scores) {
  return ctx.gather(ctx.constant(labels), ctx.emit(ArgReduce{true, 1, false, false}, {scores}), 0);
}

Value* float_list(Context& ctx, std::string_view name) {
  const std::vector<double> values = ctx.attr_floats(name);
  return ctx.constant(
      Tensor::of<float>({static_cast<int64_t>(values.size())}, std::vector<float>(values.begin(), values.end())));
}

Tensor strings_tensor(std::vector<std::string> strings) {
  const auto count = static_cast<int64_t>(strings.size());
  return Tensor::of_strings({count}, std::move(strings));
}

Tensor integers_tensor(const std::vector<int64_t>& values) {
  return Tensor::of<int64_t>({static_cast<int64_t>(values.size())}, values);
}

std::span<const OpRow> learned_ops() { return kRows; }

}  // namespace lathe::onnx
