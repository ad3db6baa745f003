#include "text/chat_template/value.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"

namespace lathe::text {
namespace {

constexpr size_t kMaxValueDepth = 100;

size_t depth_of(const Value& value) {
  if (const List* list = value.list()) return list->depth;
  if (const Dict* dict = value.dict()) return dict->depth;
  return 0;
}

void check_depth(size_t depth) {
  if (depth > kMaxValueDepth)
    fail(ErrorCode::invalid_model, "lists and objects are nested deeper than {} levels", kMaxValueDepth);
}

// Tuples as keys are found by what they hold, which two conversations never need; they equal none here.
bool same_key(const Value& left, const Value& right) {
  if (const MarkedText* text = left.text()) return right.text() != nullptr && text->bytes() == right.text()->bytes();
  if (const auto number = left.number()) return right.number() == number;
  return left.is_none() && right.is_none();
}

template <class T>
int order(const T& left, const T& right) {
  return left < right ? -1 : (right < left ? 1 : 0);
}

bool equal_lists(const List& left, const List& right, Meter& meter) {
  if (left.kind != right.kind || left.values.size() != right.values.size()) return false;
  for (size_t i = 0; i < left.values.size(); ++i)
    if (!equal(left.values[i], right.values[i], meter)) return false;
  return true;
}

bool equal_dicts(const Dict& left, const Dict& right, Meter& meter) {
  if (left.entries.size() != right.entries.size()) return false;
  for (const auto& [key, value] : left.entries) {
    meter.spend(1 + right.entries.size() / 8);
    const Value* other = right.find(key);
    if (other == nullptr || !equal(value, *other, meter)) return false;
  }
  return true;
}

Value number_from_json(const nlohmann::ordered_json& json) {
  // Beyond 63 bits the nearest double stands in for Python's unbounded integers.
  if (json.is_number_float() || (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t{INT64_MAX}))
    return json.get<double>();
  return json.get<int64_t>();
}

}  // namespace

Value Value::undefined(std::string reason) {
  Value value;
  value.held = Undefined{std::make_shared<const std::string>(std::move(reason))};
  return value;
}

const MarkedText* Value::text() const {
  const auto* pointer = std::get_if<TextPointer>(&held);
  return pointer != nullptr ? pointer->get() : nullptr;
}

const List* Value::list() const {
  const auto* pointer = std::get_if<ListPointer>(&held);
  return pointer != nullptr ? pointer->get() : nullptr;
}

const Dict* Value::dict() const {
  const auto* pointer = std::get_if<DictPointer>(&held);
  return pointer != nullptr ? pointer->get() : nullptr;
}

Object* Value::object() const {
  const auto* pointer = std::get_if<Object*>(&held);
  return pointer != nullptr ? *pointer : nullptr;
}

std::optional<int64_t> Value::integer() const {
  if (const auto* value = std::get_if<int64_t>(&held)) return *value;
  if (const auto* value = std::get_if<bool>(&held)) return int64_t{*value};
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (const auto* value = std::get_if<double>(&held)) return *value;
  if (const auto value = integer()) return static_cast<double>(*value);
  return std::nullopt;
}

const Value* Dict::find(const Value& key) const {
  for (const auto& entry : entries)
    if (same_key(entry.first, key)) return &entry.second;
  return nullptr;
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& entry : entries)
    if (const MarkedText* text = entry.first.text(); text != nullptr && text->bytes() == key) return &entry.second;
  return nullptr;
}

const Value* Arguments::next(std::string_view parameter) {
  if (taken_ < positional.size()) return &positional[taken_++];
  for (const auto& [name, value] : named)
    if (name == parameter) {
      ++named_taken_;
      return &value;
    }
  return nullptr;
}

void Arguments::done(std::string_view callee) const {
  if (taken_ < positional.size())
    fail(ErrorCode::invalid_model, "{} takes {} arguments, not {}", callee, taken_, positional.size());
  if (named_taken_ < named.size()) fail(ErrorCode::invalid_model, "{} got a named argument that it lacks", callee);
}

Arguments Arguments::rest() const {
  Arguments out;
  out.positional.assign(positional.begin() + static_cast<ptrdiff_t>(taken_), positional.end());
  out.named = named;
  return out;
}

std::optional<Value> Object::attribute(std::string_view) const { return std::nullopt; }

// NOLINTBEGIN(performance-unnecessary-value-param): whoever overrides these keeps what it is given
bool Object::assign(std::string_view, Value) { return false; }

Value Object::call(Arguments) { fail(ErrorCode::invalid_model, "a {} cannot be called", type_name()); }
// NOLINTEND(performance-unnecessary-value-param)

Value make_list(Values values, ListKind kind) {
  size_t depth = 0;
  for (const Value& value : values) depth = std::max(depth, depth_of(value));
  check_depth(depth + 1);
  return ListPointer(std::make_shared<const List>(List{kind, std::move(values), depth + 1}));
}

Value make_dict(std::vector<std::pair<Value, Value>> entries) {
  size_t depth = 0;
  for (const auto& entry : entries) {
    depth = std::max(depth, depth_of(entry.second));
    check_hashable(entry.first);
  }
  check_depth(depth + 1);
  return DictPointer(std::make_shared<const Dict>(Dict{std::move(entries), depth + 1}));
}

void check_hashable(const Value& value) {
  const List* list = value.list();
  if (value.dict() != nullptr || (list != nullptr && list->kind == ListKind::list))
    type_error("only strings, numbers and none can be keys, not", value);
  if (list != nullptr && list->is_tuple())
    for (const Value& element : list->values) check_hashable(element);
}

Value from_json(const nlohmann::ordered_json& json, bool by_user) {
  const auto text = [&](const std::string& bytes) {
    std::string valid = to_valid_utf8(bytes);
    return Value(by_user ? MarkedText::by_user(std::move(valid)) : MarkedText(std::move(valid)));
  };
  if (json.is_null()) return None{};
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number()) return number_from_json(json);
  if (json.is_string()) return text(json.get_ref<const std::string&>());
  if (json.is_array()) {
    Values values;
    for (const auto& element : json) values.push_back(from_json(element, by_user));
    return make_list(std::move(values));
  }
  if (!json.is_object()) fail(ErrorCode::invalid_argument, "the variables of a chat template hold binary data");
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [key, value] : json.items()) entries.emplace_back(text(key), from_json(value, by_user));
  return make_dict(std::move(entries));
}

std::string_view kind_name(ListKind kind) {
  switch (kind) {
    case ListKind::list: return "list";
    case ListKind::tuple:
    case ListKind::group: return "tuple";
    case ListKind::generator: return "generator";
    case ListKind::keys: return "dict_keys";
    case ListKind::values: return "dict_values";
    case ListKind::items: return "dict_items";
  }
  return "list";
}

std::string_view type_name(const Value& value) {
  struct Name {
    std::string_view operator()(const Undefined&) const { return "undefined"; }
    std::string_view operator()(const None&) const { return "none"; }
    std::string_view operator()(bool) const { return "bool"; }
    std::string_view operator()(int64_t) const { return "int"; }
    std::string_view operator()(double) const { return "float"; }
    std::string_view operator()(const TextPointer&) const { return "str"; }
    std::string_view operator()(const ListPointer& list) const { return kind_name(list->kind); }
    std::string_view operator()(const DictPointer&) const { return "dict"; }
    std::string_view operator()(const Object* object) const { return object->type_name(); }
  };
  return std::visit(Name(), value.held);
}

void type_error(std::string_view what, const Value& value) {
  if (const auto* undefined = std::get_if<Undefined>(&value.held))
    fail(ErrorCode::invalid_model, "{}", undefined->reason != nullptr ? *undefined->reason : "a value is undefined");
  fail(ErrorCode::invalid_model, "{} '{}'", what, type_name(value));
}

bool truth(const Value& value) {
  struct Truth {
    bool operator()(const Undefined&) const { return false; }
    bool operator()(const None&) const { return false; }
    bool operator()(bool value) const { return value; }
    bool operator()(int64_t value) const { return value != 0; }
    bool operator()(double value) const { return value != 0; }
    bool operator()(const TextPointer& value) const { return !value->empty(); }
    bool operator()(const ListPointer& value) const {
      return value->kind == ListKind::generator || !value->values.empty();
    }
    bool operator()(const DictPointer& value) const { return !value->entries.empty(); }
    bool operator()(const Object*) const { return true; }
  };
  return std::visit(Truth(), value.held);
}

bool equal(const Value& left, const Value& right, Meter& meter) {
  meter.spend(1);
  if (left.list() != nullptr && right.list() != nullptr) return equal_lists(*left.list(), *right.list(), meter);
  if (left.dict() != nullptr && right.dict() != nullptr) return equal_dicts(*left.dict(), *right.dict(), meter);
  if (left.object() != nullptr) return left.object() == right.object();
  if (left.is_undefined()) return right.is_undefined();
  if (left.integer() && right.integer()) return left.integer() == right.integer();
  return same_key(left, right);
}

int compare(const Value& left, const Value& right, Meter& meter) {
  meter.spend(1);
  if (left.text() != nullptr && right.text() != nullptr) {
    meter.spend_bytes(std::min(left.text()->size(), right.text()->size()));
    return order(left.text()->bytes(), right.text()->bytes());  // UTF-8 sorts as code points do
  }
  if (left.integer() && right.integer()) return order(*left.integer(), *right.integer());
  if (left.number() && right.number()) return order(*left.number(), *right.number());
  const List *first = left.list(), *second = right.list();
  if (first == nullptr || second == nullptr || first->kind != second->kind || !first->indexable()) {
    if (left.is_undefined()) type_error("", left);
    type_error(fmt::format("'{}' has no order with", type_name(left)), right);
  }
  for (size_t i = 0; i < std::min(first->values.size(), second->values.size()); ++i)
    if (!equal(first->values[i], second->values[i], meter)) return compare(first->values[i], second->values[i], meter);
  return order(first->values.size(), second->values.size());
}

std::optional<size_t> length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (const MarkedText* text = value.text()) return count_code_points(text->bytes());
  if (const Dict* dict = value.dict()) return dict->entries.size();
  const List* list = value.list();
  if (list == nullptr || list->kind == ListKind::generator) return std::nullopt;
  return list->values.size();
}

Values elements(const Value& value, Meter& meter) {
  Values out;
  if (value.is_undefined()) return out;
  if (const List* list = value.list()) {
    out = list->values;
  } else if (const Dict* dict = value.dict()) {
    for (const auto& entry : dict->entries) out.push_back(entry.first);
  } else if (const MarkedText* text = value.text()) {
    meter.spend_elements(text->size());
    for (size_t at = 0; at < text->size();) {
      const size_t begin = at;
      next_code_point(text->bytes(), at);
      out.emplace_back(text->slice(begin, at));
    }
  } else {
    type_error("cannot go through the elements of", value);
  }
  meter.spend_elements(out.size());
  return out;
}

}  // namespace lathe::text
