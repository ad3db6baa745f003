// Strings (graph/externs/strings.cc).
#include "onnx/importers/context.h"
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

constexpr OpRow kRows[] = {
    {"", "StringConcat", 20, import_concat},
    {"", "StringNormalizer", 10, import_normalizer},
    {"", "StringSplit", 20, import_split},
};

}  // namespace

std::span<const OpRow> string_ops() { return kRows; }

}  // namespace lathe::onnx
