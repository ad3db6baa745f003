// Strings (graph/externs/strings.cc), and the n-grams of their words.
#include "onnx/importers/strings.h"

#include <algorithm>

#include "onnx/importers/learned.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

void import_concat(Context& ctx) {
  Extern op;
  op.kernel = "string_concat";
  ctx.set_output(0, ctx.emit(std::move(op), {ctx.input(0), ctx.input(1)}));
}

void import_split(Context& ctx) {
  Extern op;
  op.kernel = "string_split";
  op.integers = {ctx.attr_int("maxsplit", -1)};
  op.texts = {ctx.attr_string("delimiter", "")};
  Node* node = ctx.append(std::move(op), {ctx.input(0)}, 2);
  ctx.set_output(0, node->output(0));
  ctx.set_output(1, node->output(1));
}

void import_normalizer(Context& ctx) {
  const std::string action = ctx.attr_string("case_change_action", "NONE");
  if (action != "NONE" && action != "LOWER" && action != "UPPER") ctx.invalid("case_change_action is not known");
  Extern op;
  op.kernel = "string_normalize";
  op.integers = {action == "LOWER" ? -1 : action == "UPPER" ? 1 : 0, ctx.attr_bool("is_case_sensitive", false)};
  op.texts = ctx.attr_strings("stopwords");
  ctx.set_output(0, ctx.emit(std::move(op), {ctx.input(0)}));
}

void import_regex_full_match(Context& ctx) {
  Extern op;
  op.kernel = "regex_full_match";
  op.texts = {ctx.attr_string("pattern", "")};
  ctx.set_output(0, ctx.emit(std::move(op), {ctx.input(0)}));
}

// By the pattern of a word, which is how vectorisers of scikit-learn are exported.
void import_tokenizer(Context& ctx) {
  if (!ctx.has_attr("tokenexp") || ctx.attr_bool("mark", false))
    ctx.unsupported("words are told by separators, or have marks around them");
  Extern op;
  op.kernel = "tokenize";
  op.integers = {ctx.attr_int("mincharnum", 1)};
  op.texts = {ctx.attr_string("tokenexp", ""), ctx.attr_string("pad_value", "")};
  ctx.set_output(0, ctx.emit(std::move(op), {ctx.input(0)}));
}

// Sequences of words or ids: which n-grams of the pool stand in them, and how often.
void import_tf_idf_vectorizer(Context& ctx) {
  const std::string mode = ctx.attr_string("mode", "");
  if (mode != "TF" && mode != "IDF" && mode != "TFIDF") ctx.invalid("mode is none of TF, IDF and TFIDF");
  const std::vector<int64_t> columns = ctx.attr_ints("ngram_indexes");
  std::vector<double> weights = ctx.attr_floats("weights");
  if (weights.empty() || mode == "TF") weights.assign(columns.size(), 1);
  if (weights.size() != columns.size() || columns.empty()) ctx.invalid("ngram_indexes and weights differ in number");
  const bool strings = ctx.dtype(0) == DType::string;
  Extern op;
  op.kernel = "ngram_scores";
  op.integers = {*std::max_element(columns.begin(), columns.end()) + 1, ctx.required_int("min_gram_length"),
                 ctx.required_int("max_gram_length"), ctx.required_int("max_skip_count"), mode == "IDF"};
  op.integers.insert(op.integers.end(), columns.begin(), columns.end());
  op.numbers = std::move(weights);
  Tensor pool =
      strings ? strings_tensor(ctx.attr_strings("pool_strings")) : integers_tensor(ctx.attr_ints("pool_int64s"));
  ctx.set_output(0, ctx.emit(std::move(op), {strings ? ctx.input(0) : ctx.cast(ctx.input(0), DType::i64),
                                             ctx.constant(std::move(pool)),
                                             ctx.constant(integers_tensor(ctx.attr_ints("ngram_counts")))}));
}

constexpr OpRow kRows[] = {
    {"", "RegexFullMatch", 20, import_regex_full_match},  {"", "StringConcat", 20, import_concat},
    {"", "StringNormalizer", 10, import_normalizer},      {"", "StringSplit", 20, import_split},
    {"", "TfIdfVectorizer", 9, import_tf_idf_vectorizer}, {kMicrosoft, "Tokenizer", 1, import_tokenizer},
};

}  // namespace

Value* converted(Context& ctx, Value* x, DType dtype, NumberFormat format) {
  const DType from = x->dtype();
  if (from == dtype || (from != DType::string && dtype != DType::string)) return ctx.cast(x, dtype);
  Extern op;
  op.kernel = from == DType::string ? "string_to_number" : "number_to_string";
  if (from == DType::string)
    op.texts = {std::string(to_string(dtype))};
  else
    op.integers = {format == NumberFormat::fixed};
  return ctx.emit(std::move(op), {x});
}

std::span<const OpRow> string_ops() { return kRows; }

}  // namespace lathe::onnx
