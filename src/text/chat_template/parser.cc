#include "text/chat_template/parser.h"

#include <initializer_list>

#include "base/error.h"
#include "text/chat_template/expression_parser.h"

namespace lathe::text {
namespace {

using namespace ast;  // NOLINT(google-build-using-namespace): what a parser makes

using Names = std::initializer_list<std::string_view>;

class StatementParser {
 public:
  StatementParser(std::vector<Token> tokens, Template& out) : expressions_(std::move(tokens), out), out_(out) {}

  void run() {
    out_.body = block({});
    const Token& token = expressions_.current();
    if (token.kind != TokenKind::end) syntax_error(token.line, fmt::format("'{}' closes nothing", token.text));
  }

 private:
  // Statements up to a tag that begins with one of `ends`; the parser then stands at that name, behind the "{%".
  Block block(Names ends) {
    const ExpressionParser::Level level(expressions_);
    Block out;
    for (;;) {
      const Token token = expressions_.current();
      if (token.kind == TokenKind::end) {
        if (ends.size() > 0) syntax_error(token.line, fmt::format("the template ends before '{}'", *ends.begin()));
        return out;
      }
      expressions_.next();
      if (token.kind == TokenKind::data) {
        out.push_back(make(token.line, Data{token.text}));
      } else if (token.kind == TokenKind::print_begin) {
        out.push_back(make(token.line, Print{expressions_.tuple()}));
        expressions_.expect(TokenKind::print_end, "'}}'");
      } else {
        for (const std::string_view end : ends)
          if (expressions_.at_name(end)) return out;
        out.push_back(statement(token.line));
        end_tag();
      }
    }
  }

  // The body of a block, whose opening tag ends here, up to its closing tag.
  Block body(std::string_view end) {
    end_tag();
    Block out = block({end});
    expressions_.expect_name(end);
    return out;
  }

  void end_tag() { expressions_.expect(TokenKind::block_end, "'%}'"); }

  template <class Node>
  const Statement* make(size_t line, Node node) {
    return &out_.statements.emplace_back(Statement{line, std::move(node)});
  }

  const Statement* statement(size_t line) {
    const std::string tag = expressions_.expect_any_name();
    if (tag == "if") return make(line, if_statement());
    if (tag == "for") return make(line, for_statement());
    if (tag == "set") return set_statement(line);
    if (tag == "macro") return make(line, macro_statement());
    if (tag == "call") return make(line, call_statement());
    if (tag == "filter") return make(line, filter_statement());
    if (tag == "with") return make(line, with_statement());
    if (tag == "generation") return make(line, Generation{body("endgeneration")});
    if (tag == "break" || tag == "continue") return loop_control(line, tag == "break");
    for (const char* name : {"include", "import", "from", "extends", "block", "autoescape", "do", "trans"})
      if (tag == name) fail(ErrorCode::unsupported, "line {}: chat templates cannot use the tag '{}'", line, tag);
    syntax_error(line, fmt::format("unknown tag '{}'", tag));
  }

  If if_statement() {
    If out;
    do {
      const Expr* test = expressions_.tuple_without_condition();
      end_tag();
      out.branches.emplace_back(test, block({"endif", "elif", "else"}));
    } while (expressions_.skip_name("elif"));
    if (expressions_.skip_name("else")) {
      end_tag();
      out.otherwise = block({"endif"});
    }
    expressions_.expect_name("endif");
    return out;
  }

  For for_statement() {
    For out{};
    out.target = target(false);
    expressions_.expect_name("in");
    out.sequence = expressions_.tuple_without_condition();
    if (expressions_.skip_name("if")) out.condition = expressions_.expression();
    out.recursive = expressions_.skip_name("recursive");
    end_tag();
    ++loops_;
    out.body = block({"endfor", "else"});
    --loops_;
    if (expressions_.skip_name("else")) {
      end_tag();
      out.otherwise = block({"endfor"});
    }
    expressions_.expect_name("endfor");
    return out;
  }

  const Statement* loop_control(size_t line, bool is_break) {
    if (loops_ == 0) syntax_error(line, "break and continue belong into a loop");
    return is_break ? make(line, Break{}) : make(line, Continue{});
  }

  const Statement* set_statement(size_t line) {
    const Expr* name = target(true);
    if (expressions_.skip("=")) return make(line, Set{name, expressions_.tuple()});
    const Expr* value = expressions_.filters(expressions_.make(line, BlockText{}));
    return make(line, SetBlock{name, value, body("endset")});
  }

  // A name or a tuple of names; of a namespace, an attribute.
  const Expr* target(bool namespaces) {
    const size_t line = expressions_.current().line;
    Sequence names{ListKind::tuple, {}};
    bool is_tuple = false;
    do {
      if (is_tuple && (expressions_.at_name("in") || expressions_.at("="))) break;  // a comma at the end
      names.items.push_back(single_target(namespaces));
    } while (expressions_.skip(",") && (is_tuple = true));
    return is_tuple ? expressions_.make(line, std::move(names)) : names.items[0];
  }

  const Expr* single_target(bool namespaces) {
    const ExpressionParser::Level level(expressions_);
    const size_t line = expressions_.current().line;
    if (expressions_.skip("(")) {
      const Expr* inner = target(namespaces);
      expressions_.expect(")");
      return inner;
    }
    const std::string name = expressions_.expect_any_name();
    for (const char* constant : {"true", "false", "none", "True", "False", "None"})
      if (name == constant) syntax_error(line, fmt::format("cannot assign to '{}'", name));
    const Expr* variable = expressions_.make(line, Name{name});
    if (!namespaces || !expressions_.skip(".")) return variable;
    return expressions_.make(line, Attribute{variable, expressions_.expect_any_name()});
  }

  Macro macro_statement() {
    Macro macro;
    macro.name = expressions_.expect_any_name();
    parameters(macro);
    macro_body(macro, "endmacro");
    return macro;
  }

  void parameters(Macro& macro) {
    expressions_.expect("(");
    while (!expressions_.at(")")) {
      const size_t line = expressions_.current().line;
      std::string name = expressions_.expect_any_name();
      const Expr* value = expressions_.skip("=") ? expressions_.expression() : nullptr;
      if (value == nullptr && !macro.parameters.empty() && macro.parameters.back().second != nullptr)
        syntax_error(line, "a parameter without default follows one with a default");
      macro.parameters.emplace_back(std::move(name), value);
      if (!expressions_.at(")")) expressions_.expect(",");
    }
    expressions_.expect(")");
  }

  void macro_body(Macro& macro, std::string_view end) {
    const ExpressionParser::Mentions before = expressions_.mentions();
    const size_t outer_loops = std::exchange(loops_, 0);  // break does not reach out of a macro
    macro.body = body(end);
    loops_ = outer_loops;
    const ExpressionParser::Mentions& after = expressions_.mentions();
    macro.takes_rest = after.varargs > before.varargs;
    macro.takes_named_rest = after.kwargs > before.kwargs;
    macro.takes_caller = after.caller > before.caller;
  }

  CallBlock call_statement() {
    CallBlock out;
    out.caller.name = "caller";
    if (expressions_.at("(")) parameters(out.caller);
    const size_t line = expressions_.current().line;
    out.call = expressions_.expression();
    if (!std::holds_alternative<Call>(out.call->node)) syntax_error(line, "a call block needs a call");
    macro_body(out.caller, "endcall");
    return out;
  }

  FilterBlock filter_statement() {
    const Expr* text = expressions_.make(expressions_.current().line, BlockText{});
    const Expr* value = expressions_.filters(expressions_.filter(text));
    return {value, body("endfilter")};
  }

  With with_statement() {
    With out;
    while (expressions_.current().kind != TokenKind::block_end) {
      if (!out.assignments.empty()) expressions_.expect(",");
      const Expr* name = target(false);
      expressions_.expect("=");
      out.assignments.emplace_back(name, expressions_.expression());
    }
    out.body = body("endwith");
    return out;
  }

  ExpressionParser expressions_;
  Template& out_;
  size_t loops_ = 0;  // around the current statement
};

}  // namespace

Template parse_template(std::string_view source) {
  Template out;
  StatementParser(tokenize(source), out).run();
  return out;
}

}  // namespace lathe::text
