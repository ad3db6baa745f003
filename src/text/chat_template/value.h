// The values that a template computes with, with Python's notions of truth, equality, order and type names. Undefined
// and none are different things. Lists and dicts never change once made (the sandbox that real templates are rendered
// in forbids it); only objects do: namespaces, loops, macros. Those belong to the evaluator and live as long as it.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "text/chat_template/marked_text.h"
#include "text/chat_template/meter.h"

namespace lathe::text {

struct Value;
struct List;
struct Dict;
class Object;

// A missing variable or attribute: prints as nothing, is false and empty, and fails when computed with.
struct Undefined {
  std::shared_ptr<const std::string> reason;  // "'x' is undefined"
};
struct None {};

using TextPointer = std::shared_ptr<const MarkedText>;
using ListPointer = std::shared_ptr<const List>;
using DictPointer = std::shared_ptr<const Dict>;

struct Value {
  std::variant<Undefined, None, bool, int64_t, double, TextPointer, ListPointer, DictPointer, Object*> held;

  Value() = default;
  // NOLINTBEGIN(google-explicit-constructor): each of these is a value
  Value(None value) : held(value) {}
  template <std::same_as<bool> Bool>  // but no pointer that would turn into one
  Value(Bool value) : held(value) {}
  Value(int64_t value) : held(value) {}
  Value(double value) : held(value) {}
  Value(Object* value) : held(value) {}
  Value(ListPointer value) : held(std::move(value)) {}
  Value(DictPointer value) : held(std::move(value)) {}
  Value(MarkedText value) : held(std::make_shared<const MarkedText>(std::move(value))) {}
  Value(std::string value) : Value(MarkedText(std::move(value))) {}
  Value(std::string_view value) : Value(std::string(value)) {}
  // NOLINTEND(google-explicit-constructor)

  static Value undefined(std::string reason);

  bool is_undefined() const { return std::holds_alternative<Undefined>(held); }
  bool is_none() const { return std::holds_alternative<None>(held); }
  const MarkedText* text() const;  // null when it is no string; so below
  const List* list() const;
  const Dict* dict() const;
  Object* object() const;
  std::optional<int64_t> integer() const;  // booleans are integers, as in Python
  std::optional<double> number() const;
};

using Values = std::vector<Value>;

// What Python tells apart although all are runs of values. A generator (what map and select give) is always true and
// has no length; views (dict.keys() ...) have no elements by index. A group (of groupby) is a tuple whose two elements
// have names.
enum class ListKind { list, tuple, group, generator, keys, values, items };

struct List {
  ListKind kind;
  Values values;
  size_t depth;  // of lists and dicts inside one another, this one included

  bool is_tuple() const { return kind == ListKind::tuple || kind == ListKind::group; }
  bool indexable() const { return kind == ListKind::list || is_tuple(); }
};

struct Dict {
  std::vector<std::pair<Value, Value>> entries;  // in the order of insertion
  size_t depth;

  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

// The arguments of a call. A callee takes them one by one in the order of its parameters, then calls done().
class Arguments {
 public:
  Values positional;
  std::vector<std::pair<std::string, Value>> named;

  // The next positional argument, else the one named `parameter`, else null. Valid as long as nothing is added.
  const Value* next(std::string_view parameter);
  // Fails when there are arguments that nobody took.
  void done(std::string_view callee) const;
  // What nobody took yet, for a callee that hands its arguments on; named ones all.
  Arguments rest() const;

 private:
  size_t taken_ = 0;
  size_t named_taken_ = 0;
};

// A thing with identity: its attributes may change, and it may be callable.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string_view type_name() const = 0;
  virtual std::optional<Value> attribute(std::string_view name) const;
  virtual bool assign(std::string_view name, Value value);  // false: has no attributes to set
  virtual bool callable() const { return false; }
  virtual Value call(Arguments arguments);
};

// Both fail when the result is nested deeper than any conversation is; this bounds every recursion over values.
Value make_list(Values values, ListKind kind = ListKind::list);
Value make_dict(std::vector<std::pair<Value, Value>> entries);

// `by_user` marks the strings in it.
Value from_json(const nlohmann::ordered_json& json, bool by_user);

// Fails for what cannot be a key: lists, dicts, and tuples with those in them.
void check_hashable(const Value& value);

std::string_view kind_name(ListKind kind);  // as Python names the type
// Python's name of the type, "dict", for messages.
std::string_view type_name(const Value& value);
[[noreturn]] void type_error(std::string_view what, const Value& value);  // "... not possible for 'dict'"

bool truth(const Value& value);
bool equal(const Value& left, const Value& right, Meter& meter);
// Negative, zero or positive; fails for what has no order.
int compare(const Value& left, const Value& right, Meter& meter);
std::optional<size_t> length(const Value& value);
// The elements of a list, the keys of a dict, the characters of a string, nothing of an undefined; else fails.
Values elements(const Value& value, Meter& meter);

}  // namespace lathe::text
