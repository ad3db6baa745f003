#include "text/chat_template/expression_parser.h"

#include <array>
#include <charconv>

#include "base/error.h"

namespace lathe::text {
namespace {

using namespace ast;  // NOLINT(google-build-using-namespace): what a parser makes

constexpr size_t kMaxDepth = 120;  // about a dozen functions each

struct Operator {
  std::string_view symbol;
  BinaryOp op;
};

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::end: return "the end of the template";
    case TokenKind::print_end: return "'}}'";
    case TokenKind::block_end: return "'%}'";
    default: return fmt::format("'{}'", token.text);
  }
}

}  // namespace

ExpressionParser::Level::Level(ExpressionParser& parser) : parser_(parser) {
  if (parser.depth_ == kMaxDepth) syntax_error(parser.current().line, "nested too deeply");
  ++parser.depth_;
}

Token ExpressionParser::next() {
  Token token = current();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool ExpressionParser::skip(std::string_view symbol) {
  const bool found = at(symbol);
  if (found) next();
  return found;
}

bool ExpressionParser::skip_name(std::string_view name) {
  const bool found = at_name(name);
  if (found) next();
  return found;
}

void ExpressionParser::expect(std::string_view symbol) {
  if (!skip(symbol)) syntax_error(current().line, fmt::format("'{}' expected, not {}", symbol, describe(current())));
}

void ExpressionParser::expect_name(std::string_view name) {
  if (!skip_name(name)) syntax_error(current().line, fmt::format("'{}' expected, not {}", name, describe(current())));
}

void ExpressionParser::expect(TokenKind kind, std::string_view what) {
  if (current().kind != kind)
    syntax_error(current().line, fmt::format("{} expected, not {}", what, describe(current())));
  next();
}

std::string ExpressionParser::expect_any_name() {
  std::string name = current().text;
  expect(TokenKind::name, "a name");
  return name;
}

const Expr* ExpressionParser::expression() {
  const Level level(*this);
  const size_t line = current().line;
  const Expr* result = disjunction();
  while (skip_name("if")) {
    const Expr* test = disjunction();
    result = make(line, Conditional{test, result, skip_name("else") ? expression() : nullptr});
  }
  return result;
}

const Expr* ExpressionParser::without_condition() {
  const Level level(*this);
  return disjunction();
}

const Expr* ExpressionParser::tuple() { return tuple_of(&ExpressionParser::expression); }

const Expr* ExpressionParser::tuple_without_condition() { return tuple_of(&ExpressionParser::without_condition); }

bool ExpressionParser::ends_tuple() const {
  return current().kind == TokenKind::print_end || current().kind == TokenKind::block_end || at(")") ||
         at_name("recursive");
}

const Expr* ExpressionParser::tuple_of(Rule item) {
  const size_t line = current().line;
  const Expr* first = (this->*item)();
  if (!at(",")) return first;
  Sequence tuple{ListKind::tuple, {first}};
  while (skip(",") && !ends_tuple()) tuple.items.push_back((this->*item)());
  return make(line, std::move(tuple));
}

const Expr* ExpressionParser::disjunction() {
  const Expr* left = conjunction();
  for (size_t line = current().line; skip_name("or"); line = current().line)
    left = make(line, Logic{false, left, conjunction()});
  return left;
}

const Expr* ExpressionParser::conjunction() {
  const Expr* left = negation();
  for (size_t line = current().line; skip_name("and"); line = current().line)
    left = make(line, Logic{true, left, negation()});
  return left;
}

const Expr* ExpressionParser::negation() {
  const size_t line = current().line;
  if (!skip_name("not")) return comparison();
  const Level level(*this);
  return make(line, Unary{UnaryOp::invert, negation()});
}

const Expr* ExpressionParser::comparison() {
  static constexpr std::array<std::pair<std::string_view, CompareOp>, 6> kOperators = {{{"==", CompareOp::eq},
                                                                                        {"!=", CompareOp::ne},
                                                                                        {"<", CompareOp::lt},
                                                                                        {"<=", CompareOp::le},
                                                                                        {">", CompareOp::gt},
                                                                                        {">=", CompareOp::ge}}};
  const size_t line = current().line;
  Compare compare{sum(), {}};
  for (bool found = true; found;) {
    found = false;
    for (const auto& [symbol, op] : kOperators)
      if (skip(symbol)) {
        compare.rest.emplace_back(op, sum());
        found = true;
      }
    const bool negated = at_name("not") && ahead().is(TokenKind::name, "in");
    if (negated) next();
    if (skip_name("in")) {
      compare.rest.emplace_back(negated ? CompareOp::not_in : CompareOp::in, sum());
      found = true;
    }
  }
  return compare.rest.empty() ? compare.first : make(line, std::move(compare));
}

const Expr* ExpressionParser::sum() {
  const Expr* left = concatenation();
  while (at("+") || at("-")) {
    const Token token = next();
    left = make(token.line, Binary{token.text == "+" ? BinaryOp::add : BinaryOp::subtract, left, concatenation()});
  }
  return left;
}

const Expr* ExpressionParser::concatenation() {
  const size_t line = current().line;
  Concat concat{{product()}};
  while (skip("~")) concat.parts.push_back(product());
  return concat.parts.size() == 1 ? concat.parts[0] : make(line, std::move(concat));
}

const Expr* ExpressionParser::product() {
  static constexpr std::array<Operator, 4> kOperators = {
      {{"*", BinaryOp::multiply}, {"/", BinaryOp::divide}, {"//", BinaryOp::floor_divide}, {"%", BinaryOp::modulo}}};
  const Expr* left = power();
  for (bool found = true; found;) {
    found = false;
    for (const Operator& candidate : kOperators)
      if (const size_t line = current().line; skip(candidate.symbol)) {
        left = make(line, Binary{candidate.op, left, power()});
        found = true;
      }
  }
  return left;
}

const Expr* ExpressionParser::power() {  // from the left, unlike Python's
  const Expr* left = unary(true);
  for (size_t line = current().line; skip("**"); line = current().line)
    left = make(line, Binary{BinaryOp::power, left, unary(true)});
  return left;
}

const Expr* ExpressionParser::unary(bool with_filters) {
  const Level level(*this);
  const size_t line = current().line;
  const Expr* expr = nullptr;
  if (skip("-"))
    expr = make(line, Unary{UnaryOp::negate, unary(false)});
  else if (skip("+"))
    expr = make(line, Unary{UnaryOp::plus, unary(false)});
  else
    expr = primary();
  expr = postfix(expr);
  if (!with_filters) return expr;
  for (;;) {
    if (at("|"))
      expr = filters(expr);
    else if (at_name("is"))
      expr = test(expr);
    else if (at("("))
      expr = call(expr);
    else
      return expr;
  }
}

const Expr* ExpressionParser::primary() {
  const Token token = current();
  if (token.kind == TokenKind::integer || token.kind == TokenKind::floating) return number();
  if (token.kind == TokenKind::string) {
    std::string text;
    while (current().kind == TokenKind::string) text += next().text;  // neighbours are one string
    return make(token.line, Literal{Value(std::move(text))});
  }
  if (at("(")) return parentheses();
  if (at("[")) return list();
  if (at("{")) return mapping();
  if (token.kind != TokenKind::name) syntax_error(token.line, fmt::format("unexpected {}", describe(token)));
  next();
  if (token.text == "true" || token.text == "True") return make(token.line, Literal{Value(true)});
  if (token.text == "false" || token.text == "False") return make(token.line, Literal{Value(false)});
  if (token.text == "none" || token.text == "None") return make(token.line, Literal{Value(None{})});
  if (token.text == "varargs") ++mentions_.varargs;
  if (token.text == "kwargs") ++mentions_.kwargs;
  if (token.text == "caller") ++mentions_.caller;
  return make(token.line, Name{token.text});
}

const Expr* ExpressionParser::number() {
  const Token token = next();
  const char *begin = token.text.data(), *end = begin + token.text.size();
  const auto parsed = [&](auto value) {
    const auto [stop, code] = std::from_chars(begin, end, value);
    if (code != std::errc() || stop != end)
      syntax_error(token.line, fmt::format("the number {} is too large", token.text));
    return Value(value);
  };
  return make(token.line, Literal{token.kind == TokenKind::integer ? parsed(int64_t{}) : parsed(double{})});
}

const Expr* ExpressionParser::parentheses() {
  const size_t line = current().line;
  expect("(");
  const Expr* inner = at(")") ? make(line, Sequence{ListKind::tuple, {}}) : tuple();
  expect(")");
  return inner;
}

const Expr* ExpressionParser::list() {
  const size_t line = current().line;
  expect("[");
  Sequence items{ListKind::list, {}};
  while (!at("]")) {
    if (!items.items.empty()) expect(",");
    if (at("]")) break;
    items.items.push_back(expression());
  }
  expect("]");
  return make(line, std::move(items));
}

const Expr* ExpressionParser::mapping() {
  const size_t line = current().line;
  expect("{");
  Mapping mapping;
  while (!at("}")) {
    if (!mapping.items.empty()) expect(",");
    if (at("}")) break;
    const Expr* key = expression();
    expect(":");
    mapping.items.emplace_back(key, expression());
  }
  expect("}");
  return make(line, std::move(mapping));
}

const Expr* ExpressionParser::postfix(const Expr* expr) {
  for (;;) {
    if (at(".") || at("["))
      expr = subscript(expr);
    else if (at("("))
      expr = call(expr);
    else
      return expr;
  }
}

const Expr* ExpressionParser::subscript(const Expr* object) {
  const size_t line = current().line;
  if (at("[")) return brackets(object);
  expect(".");
  if (current().kind == TokenKind::integer) return make(line, Subscript{object, number()});
  return make(line, Attribute{object, expect_any_name()});
}

const Expr* ExpressionParser::brackets(const Expr* object) {
  const size_t line = current().line;
  expect("[");
  const Expr* start = at(":") ? nullptr : expression();
  if (skip("]")) return make(line, Subscript{object, start});
  expect(":");
  Slice slice{object, start, nullptr, nullptr};
  if (!at(":") && !at("]")) slice.stop = expression();
  if (skip(":") && !at("]")) slice.step = expression();
  expect("]");
  return make(line, slice);
}

const Expr* ExpressionParser::filters(const Expr* input) {
  while (skip("|")) input = filter(input);
  return input;
}

std::string ExpressionParser::dotted_name() {
  std::string name = expect_any_name();
  while (skip(".")) name += "." + expect_any_name();
  return name;
}

const Expr* ExpressionParser::filter(const Expr* input) {
  const size_t line = current().line;
  std::string name = dotted_name();
  return make(line, Filter{input, std::move(name), at("(") ? arguments() : CallArguments()});
}

bool ExpressionParser::begins_argument_of_test() const {
  if (at_name("else") || at_name("or") || at_name("and")) return false;
  const TokenKind kind = current().kind;
  return kind == TokenKind::name || kind == TokenKind::string || kind == TokenKind::integer ||
         kind == TokenKind::floating || at("(") || at("[") || at("{");
}

const Expr* ExpressionParser::test(const Expr* input) {
  const size_t line = current().line;
  expect_name("is");
  const bool negated = skip_name("not");
  Test node{input, dotted_name(), {}};
  if (at("(")) {
    node.arguments = arguments();
  } else if (begins_argument_of_test()) {
    if (at_name("is")) syntax_error(line, "tests cannot be chained");
    node.arguments.positional.push_back(postfix(primary()));
  }
  const Expr* result = make(line, std::move(node));
  return negated ? make(line, Unary{UnaryOp::invert, result}) : result;
}

const Expr* ExpressionParser::call(const Expr* callee) {
  const size_t line = current().line;
  return make(line, Call{callee, arguments()});
}

CallArguments ExpressionParser::arguments() {
  CallArguments out;
  expect("(");
  while (!at(")")) {
    argument(out);
    if (!at(")")) expect(",");
  }
  expect(")");
  return out;
}

void ExpressionParser::argument(CallArguments& out) {
  const size_t line = current().line;
  bool in_order = out.named_rest == nullptr;
  if (skip("*")) {
    in_order = in_order && out.rest == nullptr;
    out.rest = expression();
  } else if (skip("**")) {
    out.named_rest = expression();
  } else if (current().kind == TokenKind::name && ahead().is(TokenKind::symbol, "=")) {
    std::string name = expect_any_name();
    expect("=");
    out.named.emplace_back(std::move(name), expression());
  } else {
    in_order = in_order && out.rest == nullptr && out.named.empty();
    out.positional.push_back(expression());
  }
  if (!in_order) syntax_error(line, "the arguments of a call stand in the wrong order");
}

}  // namespace lathe::text
