// The expressions of templates, one function per level of precedence. It also holds the position among the tokens,
// which the parser of statements shares.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/chat_template/ast.h"
#include "text/chat_template/lexer.h"

namespace lathe::text {

class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, ast::Template& out) : tokens_(std::move(tokens)), out_(out) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token next();
  bool at(std::string_view symbol) const { return current().is(TokenKind::symbol, symbol); }
  bool at_name(std::string_view name) const { return current().is(TokenKind::name, name); }
  bool skip(std::string_view symbol);
  bool skip_name(std::string_view name);
  void expect(std::string_view symbol);
  void expect_name(std::string_view name);
  std::string expect_any_name();
  void expect(TokenKind kind, std::string_view what);

  template <class Node>
  const ast::Expr* make(size_t line, Node node) {
    return &out_.exprs.emplace_back(ast::Expr{line, std::move(node)});
  }

  const ast::Expr* expression();                     // `a if b else c` included
  const ast::Expr* without_condition();              // everything below that
  const ast::Expr* tuple();                          // expressions separated by commas are one
  const ast::Expr* tuple_without_condition();        // what stands behind `in` and `if`
  const ast::Expr* filters(const ast::Expr* input);  // any number of `| name(...)`
  const ast::Expr* filter(const ast::Expr* input);   // from the filter's name on
  const ast::Expr* call(const ast::Expr* callee);

  // How often these names were used so far: a macro that uses them takes any arguments, and call blocks.
  struct Mentions {
    size_t varargs = 0, kwargs = 0, caller = 0;
  };
  const Mentions& mentions() const { return mentions_; }

  // Holds the recursion of the parser down.
  class Level {
   public:
    explicit Level(ExpressionParser& parser);
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    ~Level() { --parser_.depth_; }

   private:
    ExpressionParser& parser_;
  };

 private:
  using Rule = const ast::Expr* (ExpressionParser::*)();

  const ast::Expr* disjunction();
  const ast::Expr* conjunction();
  const ast::Expr* negation();
  const ast::Expr* comparison();
  const ast::Expr* sum();
  const ast::Expr* concatenation();
  const ast::Expr* product();
  const ast::Expr* power();
  const ast::Expr* unary(bool with_filters);
  const ast::Expr* primary();
  const ast::Expr* number();
  const ast::Expr* parentheses();
  const ast::Expr* list();
  const ast::Expr* mapping();
  const ast::Expr* postfix(const ast::Expr* expr);
  const ast::Expr* subscript(const ast::Expr* object);
  const ast::Expr* brackets(const ast::Expr* object);
  const ast::Expr* test(const ast::Expr* input);
  const ast::Expr* tuple_of(Rule item);
  ast::CallArguments arguments();
  void argument(ast::CallArguments& out);
  bool begins_argument_of_test() const;
  bool ends_tuple() const;
  std::string dotted_name();

  std::vector<Token> tokens_;
  ast::Template& out_;
  size_t at_ = 0, depth_ = 0;
  Mentions mentions_;
};

}  // namespace lathe::text
