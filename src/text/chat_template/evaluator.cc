// Expressions, scopes and the global functions; statements are in statements.cc.
#include "text/chat_template/evaluator.h"

#include <algorithm>
#include <ctime>

#include "base/error.h"
#include "text/chat_template/arguments.h"
#include "text/chat_template/builtins.h"
#include "text/chat_template/format.h"
#include "text/chat_template/objects.h"
#include "text/chat_template/operators.h"
#include "text/chat_template/python_string.h"
#include "text/chat_template/value_text.h"

namespace lathe::text {
namespace {

constexpr int64_t kMaxRange = 100'000;  // the sandbox's limit

Value make_range(Arguments& arguments, Meter& meter) {
  const Value* first = arguments.next("start");
  const Value* second = arguments.next("stop");
  const int64_t step = integer_or(arguments.next("step"), 1);
  const int64_t stop = integer_or(&required(second != nullptr ? second : first, "range", "stop"), 0);
  const int64_t start = second != nullptr ? integer_or(first, 0) : 0;
  arguments.done("range");
  if (step == 0) fail(ErrorCode::invalid_model, "range: the step cannot be 0");
  Values out;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (out.size() == static_cast<size_t>(kMaxRange))
      fail(ErrorCode::invalid_model, "range: more than {} numbers", kMaxRange);
    out.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  meter.spend_elements(out.size());
  return make_list(std::move(out));
}

std::vector<std::pair<Value, Value>> entries_of(const Value& value, Meter& meter) {
  if (value.dict() != nullptr) return value.dict()->entries;
  std::vector<std::pair<Value, Value>> out;
  for (const Value& element : elements(value, meter)) {
    const Values pair = elements(element, meter);
    if (pair.size() != 2) type_error("a dict is made of pairs, not of", element);
    out.emplace_back(pair[0], pair[1]);
  }
  return out;
}

void insert_entry(std::vector<std::pair<Value, Value>>& entries, Value key, Value value, Meter& meter) {
  meter.spend(1 + entries.size() / 8);
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const auto& entry) { return equal(entry.first, key, meter); });
  if (found != entries.end())
    found->second = std::move(value);
  else
    entries.emplace_back(std::move(key), std::move(value));
}

Value make_dict_of(const Arguments& arguments, Meter& meter) {
  std::vector<std::pair<Value, Value>> entries;
  if (arguments.positional.size() > 1) fail(ErrorCode::invalid_model, "dict takes one positional argument at most");
  if (!arguments.positional.empty())
    for (auto& [key, value] : entries_of(arguments.positional[0], meter))
      insert_entry(entries, std::move(key), std::move(value), meter);
  for (const auto& [name, value] : arguments.named) insert_entry(entries, Value(name), value, meter);
  return make_dict(std::move(entries));
}

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm out{};
  localtime_r(&now, &out);
  return out;
}

}  // namespace

Evaluator::Evaluator(const ast::Template& parsed, const RenderOptions& options)
    : parsed_(parsed), options_(options), meter_(options.limits) {
  define_builtins();
  scope_ = &new_scope(&globals_);
}

RenderedPrompt Evaluator::run() {
  execute(parsed_.body);
  return {output_.bytes(), output_.user_ranges(), std::move(generation_)};
}

void Evaluator::Scope::set(std::string name, Value value) {
  const auto found =
      std::find_if(variables.begin(), variables.end(), [&](const auto& entry) { return entry.first == name; });
  if (found != variables.end())
    found->second = std::move(value);
  else
    variables.emplace_back(std::move(name), std::move(value));
}

Evaluator::Scope& Evaluator::new_scope(const Scope* parent) {
  meter_.spend_elements(2);
  return scopes_.emplace_back(Scope{parent, {}});
}

Value Evaluator::new_function(std::function<Value(Arguments)> body) {
  meter_.spend_elements(2);
  return objects_.emplace_back(std::make_unique<Function>(std::move(body))).get();
}

void Evaluator::define_builtins() {
  const auto define_function = [&](const std::string& name, std::function<Value(Arguments)> body) {
    define(name, new_function(std::move(body)));
  };
  define_function("range", [this](Arguments arguments) { return make_range(arguments, meter_); });
  define_function("dict", [this](const Arguments& arguments) { return make_dict_of(arguments, meter_); });
  define_function("namespace", [this](const Arguments& arguments) {
    const Value initial = make_dict_of(arguments, meter_);
    meter_.spend_elements(2);
    Object* made = objects_.emplace_back(std::make_unique<Namespace>()).get();
    for (const auto& [key, value] : initial.dict()->entries) made->assign(to_text(key, meter_).bytes(), value);
    return Value(made);
  });
  define_function("joiner", [this](Arguments arguments) {
    const Value* given = arguments.next("sep");
    const Value separator = given != nullptr ? *given : Value(std::string(", "));
    arguments.done("joiner");
    return new_function([separator, called = false](const Arguments&) mutable {
      return std::exchange(called, true) ? separator : Value(std::string());
    });
  });
  define_function("raise_exception", [this](Arguments arguments) -> Value {
    const Value* message = arguments.next("message");
    const std::string text =
        message != nullptr ? to_text(*message, meter_).bytes() : "the template raised an exception";
    throw Error(ErrorCode::invalid_argument, text);
  });
  define_function("strftime_now", [this](Arguments arguments) -> Value {
    const std::string format = required_text(arguments.next("format"), "strftime_now", "format").bytes();
    return format_time(format, options_.now ? *options_.now : local_time());
  });
}

Value Evaluator::lookup(const std::string& name) {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    meter_.spend(scope->variables.size() / 8);
    for (const auto& [key, value] : scope->variables)
      if (key == name) return value;
  }
  return Value::undefined(fmt::format("'{}' is undefined", name));
}

void Evaluator::charge(const Value& value) {
  if (const MarkedText* text = value.text()) meter_.spend_bytes(text->size());
}

Value Evaluator::eval(const ast::Expr& expr) {
  const Meter::Level level(meter_);
  meter_.spend(1);
  line_ = expr.line;
  return std::visit([this](const auto& node) { return evaluate(node); }, expr.node);
}

Value Evaluator::evaluate(const ast::Sequence& node) {
  Values values;
  for (const ast::Expr* item : node.items) values.push_back(eval(*item));
  meter_.spend_elements(values.size());
  return make_list(std::move(values), node.kind);
}

Value Evaluator::evaluate(const ast::Mapping& node) {
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [key, value] : node.items) {
    Value evaluated_key = eval(*key);
    insert_entry(entries, std::move(evaluated_key), eval(*value), meter_);
  }
  meter_.spend_elements(2 * entries.size());
  return make_dict(std::move(entries));
}

Value Evaluator::evaluate(const ast::Unary& node) { return apply_unary(node.op, eval(*node.operand)); }

Value Evaluator::evaluate(const ast::Binary& node) {
  const Value left = eval(*node.left);
  return apply_binary(node.op, left, eval(*node.right), meter_);
}

Value Evaluator::evaluate(const ast::Logic& node) {
  Value left = eval(*node.left);
  return truth(left) == node.is_and ? eval(*node.right) : left;
}

Value Evaluator::evaluate(const ast::Compare& node) {
  Value left = eval(*node.first);
  for (const auto& [op, operand] : node.rest) {
    Value right = eval(*operand);
    if (!apply_compare(op, left, right, meter_)) return false;
    left = std::move(right);
  }
  return true;
}

Value Evaluator::evaluate(const ast::Concat& node) {
  MarkedText out;
  for (const ast::Expr* part : node.parts) out.append(to_text(eval(*part), meter_));
  return out;
}

Value Evaluator::evaluate(const ast::Conditional& node) {
  if (truth(eval(*node.test))) return eval(*node.yes);
  return node.no != nullptr ? eval(*node.no) : Value::undefined("an inline if was false and has no else");
}

Value Evaluator::bind_method(const Value& self, std::string_view name) {
  const Method method = find_method(self, name);
  return new_function([this, self, method](Arguments arguments) {
    charge(self);
    return method(meter_, self, arguments);
  });
}

Value Evaluator::attribute(const Value& object, const std::string& name) {
  if (find_method(object, name) != nullptr) return bind_method(object, name);
  return subscript(object, Value(name), meter_);
}

Value Evaluator::evaluate(const ast::Attribute& node) { return attribute(eval(*node.object), node.name); }

Value Evaluator::evaluate(const ast::Subscript& node) {
  const Value object = eval(*node.object), index = eval(*node.index);
  Value item = subscript(object, index, meter_);
  // As attributes fall back to items, so do items to attributes.
  if (!item.is_undefined() || index.text() == nullptr || find_method(object, index.text()->bytes()) == nullptr)
    return item;
  return bind_method(object, index.text()->bytes());
}

Value Evaluator::evaluate(const ast::Slice& node) {
  const Value object = eval(*node.object), start = eval_or_none(node.start), stop = eval_or_none(node.stop);
  return slice(object, start, stop, eval_or_none(node.step), meter_);
}

Arguments Evaluator::evaluate(const ast::CallArguments& node) {
  Arguments out;
  for (const ast::Expr* argument : node.positional) out.positional.push_back(eval(*argument));
  if (node.rest != nullptr)
    for (Value& value : elements(eval(*node.rest), meter_)) out.positional.push_back(std::move(value));
  for (const auto& [name, argument] : node.named) out.named.emplace_back(name, eval(*argument));
  if (node.named_rest != nullptr)
    for (const auto& [key, value] : entries_of(eval(*node.named_rest), meter_))
      out.named.emplace_back(to_text(key, meter_).bytes(), value);
  return out;
}

Value Evaluator::evaluate(const ast::Call& node) { return call(node, nullptr); }

Value Evaluator::call(const ast::Call& node, const Value* caller) {
  Value callee;
  if (const auto* member = std::get_if<ast::Attribute>(&node.callee->node)) {
    const Value self = eval(*member->object);
    if (const Method method = find_method(self, member->name)) {
      Arguments arguments = evaluate(node.arguments);
      charge(self);
      return method(meter_, self, arguments);
    }
    callee = attribute(self, member->name);
  } else {
    callee = eval(*node.callee);
  }
  if (callee.object() == nullptr) type_error("cannot call", callee);
  Arguments arguments = evaluate(node.arguments);
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  return callee.object()->call(std::move(arguments));
}

Value Evaluator::evaluate(const ast::Filter& node) {
  const FilterFunction filter = require_filter(node.name);
  const Value input = eval(*node.input);
  Arguments arguments = evaluate(node.arguments);
  charge(input);
  return filter(meter_, input, arguments);
}

Value Evaluator::evaluate(const ast::Test& node) {
  const TestFunction test = require_test(node.name);
  const Value input = eval(*node.input);
  Arguments arguments = evaluate(node.arguments);
  return test(meter_, input, arguments);
}

void Evaluator::assign(const ast::Expr& target, const Value& value) {
  meter_.spend(1 + scope_->variables.size() / 8);
  if (const auto* name = std::get_if<ast::Name>(&target.node)) return scope_->set(name->name, value);
  if (const auto* names = std::get_if<ast::Sequence>(&target.node)) return assign_all(names->items, value);
  const auto& member = std::get<ast::Attribute>(target.node);
  const Value owner = eval(*member.object);
  if (owner.object() == nullptr || !owner.object()->assign(member.name, value))
    type_error("attributes can be set on a namespace only, not on", owner);
}

void Evaluator::assign_all(const std::vector<const ast::Expr*>& targets, const Value& value) {
  const Values values = elements(value, meter_);
  if (values.size() != targets.size())
    fail(ErrorCode::invalid_model, "{} values cannot be assigned to {} names", values.size(), targets.size());
  for (size_t i = 0; i < values.size(); ++i) assign(*targets[i], values[i]);
}

}  // namespace lathe::text
