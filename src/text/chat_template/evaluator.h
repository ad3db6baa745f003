// Runs a parsed template: one object per rendering. It owns the scopes and the objects with identity (namespaces,
// loops, macros) until the rendering is over, whatever a template keeps hold of; values refer to them by plain
// pointers.
//
// Scopes are Jinja's: loops, macros, with and captured blocks open one, if does not; assignments go to the innermost,
// and a macro sees the scope in which it was defined.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/chat_template/ast.h"
#include "text/chat_template/chat_template.h"
#include "text/chat_template/meter.h"
#include "text/chat_template/value.h"

namespace lathe::text {

class Loop;

class Evaluator {
 public:
  Evaluator(const ast::Template& parsed, const RenderOptions& options);

  void define(std::string name, Value value) { globals_.set(std::move(name), std::move(value)); }
  RenderedPrompt run();
  size_t line() const { return line_; }  // of what was evaluated last: the place of an error

 private:
  enum class Flow { on, break_loop, continue_loop };

  struct Scope {
    const Scope* parent = nullptr;
    std::vector<std::pair<std::string, Value>> variables;

    void set(std::string name, Value value);
  };

  // Makes `scope` the current one for as long as this lives.
  class ScopeGuard {
   public:
    ScopeGuard(Evaluator& evaluator, Scope& scope)
        : evaluator_(evaluator), outer_(std::exchange(evaluator.scope_, &scope)) {}
    ScopeGuard(const ScopeGuard&) = delete;
    ScopeGuard& operator=(const ScopeGuard&) = delete;
    ~ScopeGuard() { evaluator_.scope_ = outer_; }

   private:
    Evaluator& evaluator_;
    Scope* outer_;
  };

  Scope& new_scope(const Scope* parent);
  Value new_function(std::function<Value(Arguments)> body);
  void define_builtins();
  Value lookup(const std::string& name);
  void assign(const ast::Expr& target, const Value& value);
  void assign_all(const std::vector<const ast::Expr*>& targets, const Value& value);

  Value eval(const ast::Expr& expr);
  Value eval_or_none(const ast::Expr* expr) { return expr != nullptr ? eval(*expr) : Value(None{}); }
  Value evaluate(const ast::Literal& node) { return node.value; }
  Value evaluate(const ast::Name& node) { return lookup(node.name); }
  Value evaluate(const ast::BlockText&) { return block_text_; }
  Value evaluate(const ast::Sequence& node);
  Value evaluate(const ast::Mapping& node);
  Value evaluate(const ast::Unary& node);
  Value evaluate(const ast::Binary& node);
  Value evaluate(const ast::Logic& node);
  Value evaluate(const ast::Compare& node);
  Value evaluate(const ast::Concat& node);
  Value evaluate(const ast::Conditional& node);
  Value evaluate(const ast::Attribute& node);
  Value evaluate(const ast::Subscript& node);
  Value evaluate(const ast::Slice& node);
  Value evaluate(const ast::Call& node);
  Value evaluate(const ast::Filter& node);
  Value evaluate(const ast::Test& node);
  Arguments evaluate(const ast::CallArguments& node);
  Value attribute(const Value& object, const std::string& name);
  Value bind_method(const Value& self, std::string_view name);
  Value call(const ast::Call& node, const Value* caller);
  void charge(const Value& value);

  Flow execute(const ast::Block& block);
  Flow execute(const ast::Data& node);
  Flow execute(const ast::Print& node);
  Flow execute(const ast::If& node);
  Flow execute(const ast::For& node);
  Flow execute(const ast::Set& node);
  Flow execute(const ast::SetBlock& node);
  Flow execute(const ast::Macro& node);
  Flow execute(const ast::CallBlock& node);
  Flow execute(const ast::FilterBlock& node);
  Flow execute(const ast::With& node);
  Flow execute(const ast::Break&) { return Flow::break_loop; }
  Flow execute(const ast::Continue&) { return Flow::continue_loop; }
  Flow execute(const ast::Generation& node);

  // The output of a block in a scope of its own, and what `value` makes of it.
  Flow capture(const ast::Block& body, const ast::Expr& value, Value& result);
  Flow run_loop(const ast::For& node, const Value& sequence, size_t depth);
  bool run_iterations(const ast::For& node, Loop& loop);
  Values loop_items(const ast::For& node, const Value& sequence);
  Value new_macro(const ast::Macro& node);
  Value call_macro(const ast::Macro& node, const Scope* defined_in, const Arguments& arguments);
  void bind_parameters(const ast::Macro& node, const Arguments& arguments);
  void bind_rest(const ast::Macro& node, const Arguments& arguments);
  void write(const MarkedText& text);

  const ast::Template& parsed_;
  const RenderOptions& options_;
  Meter meter_;
  Scope globals_;
  std::deque<Scope> scopes_;
  std::vector<std::unique_ptr<Object>> objects_;
  Scope* scope_ = nullptr;
  MarkedText output_;
  MarkedText* out_ = &output_;  // where text goes: the prompt, or a block that is captured
  Value block_text_;
  std::vector<ByteRange> generation_;
  size_t line_ = 1;
};

}  // namespace lathe::text
