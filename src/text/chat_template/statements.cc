// The statements of templates; expressions are in evaluator.cc.
#include <algorithm>

#include "base/error.h"
#include "text/chat_template/evaluator.h"
#include "text/chat_template/objects.h"
#include "text/chat_template/value_text.h"

namespace lathe::text {

Evaluator::Flow Evaluator::execute(const ast::Block& block) {
  const Meter::Level level(meter_);
  for (const ast::Statement* statement : block) {
    meter_.spend(1);
    line_ = statement->line;
    const Flow flow = std::visit([this](const auto& node) { return execute(node); }, statement->node);
    if (flow != Flow::on) return flow;
  }
  return Flow::on;
}

void Evaluator::write(const MarkedText& text) {
  meter_.spend_bytes(text.size());
  out_->append(text);
  if (out_->size() > options_.limits.output_bytes)
    fail(ErrorCode::invalid_model, "the prompt is longer than {} bytes", options_.limits.output_bytes);
}

Evaluator::Flow Evaluator::execute(const ast::Data& node) {
  write(MarkedText(node.text));
  return Flow::on;
}

Evaluator::Flow Evaluator::execute(const ast::Print& node) {
  write(to_text(eval(*node.value), meter_));
  return Flow::on;
}

Evaluator::Flow Evaluator::execute(const ast::If& node) {
  for (const auto& [test, body] : node.branches)
    if (truth(eval(*test))) return execute(body);
  return execute(node.otherwise);
}

Evaluator::Flow Evaluator::execute(const ast::Set& node) {
  assign(*node.target, eval(*node.value));
  return Flow::on;
}

Evaluator::Flow Evaluator::capture(const ast::Block& body, const ast::Expr& value, Value& result) {
  MarkedText text;
  MarkedText* const outer = std::exchange(out_, &text);
  const ScopeGuard guard(*this, new_scope(scope_));
  const Flow flow = execute(body);
  out_ = outer;
  const Value outer_text = std::exchange(block_text_, Value(std::move(text)));
  result = eval(value);
  block_text_ = outer_text;
  return flow;
}

Evaluator::Flow Evaluator::execute(const ast::SetBlock& node) {
  Value value;
  const Flow flow = capture(node.body, *node.value, value);
  if (flow == Flow::on) assign(*node.target, value);
  return flow;
}

Evaluator::Flow Evaluator::execute(const ast::FilterBlock& node) {
  Value value;
  const Flow flow = capture(node.body, *node.value, value);
  if (flow == Flow::on) write(to_text(value, meter_));
  return flow;
}

Evaluator::Flow Evaluator::execute(const ast::With& node) {
  Scope& scope = new_scope(scope_);
  for (const auto& [target, value] : node.assignments) {
    const Value evaluated = eval(*value);  // outside: assignments do not see each other
    const ScopeGuard guard(*this, scope);
    assign(*target, evaluated);
  }
  const ScopeGuard guard(*this, scope);
  return execute(node.body);
}

Evaluator::Flow Evaluator::execute(const ast::Generation& node) {
  const size_t begin = output_.size();
  const ScopeGuard guard(*this, new_scope(scope_));
  const Flow flow = execute(node.body);
  if (out_ == &output_ && output_.size() > begin) generation_.push_back({begin, output_.size()});
  return flow;
}

Evaluator::Flow Evaluator::execute(const ast::For& node) { return run_loop(node, eval(*node.sequence), 0); }

// The elements that pass the loop's own condition, which sees the target but not the new `loop`.
Values Evaluator::loop_items(const ast::For& node, const Value& sequence) {
  Values items = elements(sequence, meter_);
  if (node.condition == nullptr) return items;
  Values kept;
  for (Value& item : items) {
    const ScopeGuard guard(*this, new_scope(scope_));
    assign(*node.target, item);
    if (truth(eval(*node.condition))) kept.push_back(std::move(item));
  }
  return kept;
}

Evaluator::Flow Evaluator::run_loop(const ast::For& node, const Value& sequence, size_t depth) {
  auto made = std::make_unique<Loop>(loop_items(node, sequence), depth);
  Loop& loop = *made;
  objects_.push_back(std::move(made));
  loop.cycle = new_function([&loop](const Arguments& arguments) { return loop.cycle_through(arguments); });
  loop.changed = new_function(
      [&loop, this](Arguments arguments) { return loop.has_changed(std::move(arguments.positional), meter_); });
  if (node.recursive)
    loop.recurse = [this, &node, &loop, scope = scope_](Arguments arguments) -> Value {
      const Value* inner = arguments.next("iterable");
      arguments.done("loop");
      MarkedText text;
      MarkedText* const outer = std::exchange(out_, &text);
      const ScopeGuard guard(*this, *scope);
      run_loop(node, inner != nullptr ? *inner : Value(), loop.depth() + 1);
      out_ = outer;
      return text;
    };
  if (run_iterations(node, loop)) return Flow::on;
  const ScopeGuard guard(*this, new_scope(scope_));
  return execute(node.otherwise);
}

// Whether one has come to its end: as Jinja has it, `else` is for loops whose iterations were all left early, too.
bool Evaluator::run_iterations(const ast::For& node, Loop& loop) {
  bool any = false;
  for (size_t i = 0; i < loop.items().size(); ++i) {
    loop.set_index(i);
    const ScopeGuard guard(*this, new_scope(scope_));
    assign(*node.target, loop.items()[i]);
    scope_->set("loop", &loop);
    const Flow flow = execute(node.body);
    if (flow == Flow::break_loop) break;
    any = any || flow == Flow::on;
  }
  return any;
}

Value Evaluator::new_macro(const ast::Macro& node) {
  return new_function(
      [this, &node, scope = scope_](const Arguments& arguments) { return call_macro(node, scope, arguments); });
}

Evaluator::Flow Evaluator::execute(const ast::Macro& node) {
  scope_->set(node.name, new_macro(node));
  return Flow::on;
}

Evaluator::Flow Evaluator::execute(const ast::CallBlock& node) {
  const Value caller = new_macro(node.caller);
  write(to_text(call(std::get<ast::Call>(node.call->node), &caller), meter_));
  return Flow::on;
}

Value Evaluator::call_macro(const ast::Macro& node, const Scope* defined_in, const Arguments& arguments) {
  const Meter::Level level(meter_);
  const ScopeGuard guard(*this, new_scope(defined_in));
  bind_parameters(node, arguments);
  bind_rest(node, arguments);
  MarkedText text;
  MarkedText* const outer = std::exchange(out_, &text);
  execute(node.body);
  out_ = outer;
  return text;
}

void Evaluator::bind_parameters(const ast::Macro& node, const Arguments& arguments) {
  for (size_t i = 0; i < node.parameters.size(); ++i) {
    const auto& [name, otherwise] = node.parameters[i];
    const auto named = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [&parameter = name](const auto& entry) { return entry.first == parameter; });
    if (i < arguments.positional.size())
      scope_->set(name, arguments.positional[i]);
    else if (named != arguments.named.end())
      scope_->set(name, named->second);
    else if (otherwise != nullptr)
      scope_->set(name, eval(*otherwise));
    else
      scope_->set(name, Value::undefined(fmt::format("the parameter '{}' was not provided", name)));
  }
}

// What goes beyond the parameters: varargs, kwargs, and the `caller` of a call block.
void Evaluator::bind_rest(const ast::Macro& node, const Arguments& arguments) {
  const size_t count = node.parameters.size();
  if (arguments.positional.size() > count && !node.takes_rest)
    fail(ErrorCode::invalid_model, "macro '{}' takes {} arguments at most", node.name, count);
  std::vector<std::pair<Value, Value>> named;
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find_if(node.parameters.begin(), node.parameters.end(),
                                    [&given = name](const auto& parameter) { return parameter.first == given; });
    if (found != node.parameters.end()) {
      if (static_cast<size_t>(found - node.parameters.begin()) < arguments.positional.size())
        fail(ErrorCode::invalid_model, "macro '{}' got two values for '{}'", node.name, name);
    } else if (name == "caller" && node.takes_caller) {
      scope_->set(name, value);
    } else if (node.takes_named_rest) {
      named.emplace_back(Value(name), value);
    } else {
      fail(ErrorCode::invalid_model, "macro '{}' has no parameter '{}'", node.name, name);
    }
  }
  if (node.takes_named_rest) scope_->set("kwargs", make_dict(std::move(named)));
  if (!node.takes_rest) return;
  const auto& given = arguments.positional;
  scope_->set("varargs",
              make_list(Values(given.begin() + static_cast<ptrdiff_t>(std::min(count, given.size())), given.end()),
                        ListKind::tuple));
}

}  // namespace lathe::text
