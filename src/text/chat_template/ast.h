// What a template parses to. Nodes live in the Template that they belong to and point at each other freely; that they
// are destroyed one by one, not recursively, keeps deep templates from exhausting the stack.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "text/chat_template/value.h"

namespace lathe::text::ast {

struct Expr;
struct Statement;
using Block = std::vector<const Statement*>;

struct CallArguments {
  std::vector<const Expr*> positional;
  std::vector<std::pair<std::string, const Expr*>> named;
  const Expr *rest = nullptr, *named_rest = nullptr;  // *args, **kwargs
};

struct Literal {
  Value value;
};
struct Name {
  std::string name;
};
struct Sequence {  // a list or a tuple
  ListKind kind;
  std::vector<const Expr*> items;
};
struct Mapping {
  std::vector<std::pair<const Expr*, const Expr*>> items;
};
enum class UnaryOp { negate, plus, invert };
struct Unary {
  UnaryOp op;
  const Expr* operand;
};
enum class BinaryOp { add, subtract, multiply, divide, floor_divide, modulo, power };
struct Binary {
  BinaryOp op;
  const Expr *left, *right;
};
struct Logic {
  bool is_and;
  const Expr *left, *right;
};
enum class CompareOp { eq, ne, lt, le, gt, ge, in, not_in };
struct Compare {  // a < b <= c
  const Expr* first;
  std::vector<std::pair<CompareOp, const Expr*>> rest;
};
struct Concat {  // a ~ b
  std::vector<const Expr*> parts;
};
struct Conditional {            // yes if test else no
  const Expr *test, *yes, *no;  // `no` may be null
};
struct Attribute {
  const Expr* object;
  std::string name;
};
struct Subscript {
  const Expr *object, *index;
};
struct Slice {
  const Expr *object, *start, *stop, *step;  // each but `object` may be null
};
struct Call {
  const Expr* callee;
  CallArguments arguments;
};
struct Filter {
  const Expr* input;
  std::string name;
  CallArguments arguments;
};
struct Test {
  const Expr* input;
  std::string name;
  CallArguments arguments;
};
struct BlockText {};  // the text of the block that a filter of {% filter %} or {% set %} applies to

struct Expr {
  size_t line;
  std::variant<Literal, Name, Sequence, Mapping, Unary, Binary, Logic, Compare, Concat, Conditional, Attribute,
               Subscript, Slice, Call, Filter, Test, BlockText>
      node;
};

struct Data {
  std::string text;
};
struct Print {
  const Expr* value;
};
struct If {
  std::vector<std::pair<const Expr*, Block>> branches;
  Block otherwise;
};
struct For {
  const Expr *target, *sequence, *condition;  // `condition` may be null
  bool recursive;
  Block body, otherwise;
};
// Targets are Names, tuples of targets, or an Attribute of a Name (a namespace's).
struct Set {
  const Expr *target, *value;
};
struct SetBlock {
  const Expr *target, *value;  // `value` is BlockText, or filters around it
  Block body;
};
struct Macro {
  std::string name;
  std::vector<std::pair<std::string, const Expr*>> parameters;  // with defaults, which may be null
  // It mentions varargs, kwargs, caller.
  bool takes_rest = false, takes_named_rest = false, takes_caller = false;
  Block body;
};
struct CallBlock {
  Macro caller;
  const Expr* call;
};
struct FilterBlock {
  const Expr* value;
  Block body;
};
struct With {
  std::vector<std::pair<const Expr*, const Expr*>> assignments;
  Block body;
};
struct Break {};
struct Continue {};
struct Generation {
  Block body;
};

struct Statement {
  size_t line;
  std::variant<Data, Print, If, For, Set, SetBlock, Macro, CallBlock, FilterBlock, With, Break, Continue, Generation>
      node;
};

struct Template {
  std::deque<Expr> exprs;
  std::deque<Statement> statements;
  Block body;
};

}  // namespace lathe::text::ast
