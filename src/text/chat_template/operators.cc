#include "text/chat_template/operators.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/chat_template/arguments.h"
#include "text/chat_template/format.h"
#include "text/chat_template/python_string.h"
#include "text/chat_template/value_text.h"

namespace lathe::text {
namespace {

using ast::BinaryOp;
using ast::CompareOp;
using ast::UnaryOp;

constexpr std::string_view symbol(BinaryOp op) {
  switch (op) {
    case BinaryOp::add: return "+";
    case BinaryOp::subtract: return "-";
    case BinaryOp::multiply: return "*";
    case BinaryOp::divide: return "/";
    case BinaryOp::floor_divide: return "//";
    case BinaryOp::modulo: return "%";
    case BinaryOp::power: return "**";
  }
  return "?";
}

[[noreturn]] void too_large() { fail(ErrorCode::invalid_model, "an integer does not fit into 64 bits"); }

void check_divisor(bool is_zero) {
  if (is_zero) fail(ErrorCode::invalid_model, "division by zero");
}

int64_t floor_divide(int64_t left, int64_t right) {
  check_divisor(right == 0);
  if (right == -1) return __builtin_sub_overflow(0, left, &left) ? (too_large(), 0) : left;
  return left / right - ((left % right != 0) && ((left < 0) != (right < 0)));
}

int64_t floor_modulo(int64_t left, int64_t right) {
  check_divisor(right == 0);
  if (right == -1) return 0;
  const int64_t rest = left % right;
  return rest != 0 && ((rest < 0) != (right < 0)) ? rest + right : rest;
}

double floor_modulo(double left, double right) {
  check_divisor(right == 0);
  const double rest = std::fmod(left, right);
  if (rest == 0) return std::copysign(0.0, right);
  return (rest < 0) != (right < 0) ? rest + right : rest;
}

int64_t power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  for (; exponent > 0; --exponent)  // 63 rounds at most: the base is 2 or larger in magnitude
    if (__builtin_mul_overflow(result, base, &result)) too_large();
  return result;
}

Value integer_result(BinaryOp op, int64_t left, int64_t right) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case BinaryOp::add: overflow = __builtin_add_overflow(left, right, &result); break;
    case BinaryOp::subtract: overflow = __builtin_sub_overflow(left, right, &result); break;
    case BinaryOp::multiply: overflow = __builtin_mul_overflow(left, right, &result); break;
    case BinaryOp::divide: check_divisor(right == 0); return static_cast<double>(left) / static_cast<double>(right);
    case BinaryOp::floor_divide: return floor_divide(left, right);
    case BinaryOp::modulo: return floor_modulo(left, right);
    case BinaryOp::power:
      check_divisor(left == 0 && right < 0);
      if (right < 0) return std::pow(static_cast<double>(left), static_cast<double>(right));
      return power(left, right);
  }
  if (overflow) too_large();
  return result;
}

Value double_result(BinaryOp op, double left, double right) {
  switch (op) {
    case BinaryOp::add: return left + right;
    case BinaryOp::subtract: return left - right;
    case BinaryOp::multiply: return left * right;
    case BinaryOp::divide: check_divisor(right == 0); return left / right;
    case BinaryOp::floor_divide: check_divisor(right == 0); return std::floor(left / right);
    case BinaryOp::modulo: return floor_modulo(left, right);
    case BinaryOp::power: return std::pow(left, right);
  }
  return left;
}

// What `count` copies of something of this size would be; fails rather than overflow.
size_t repeated_size(size_t size, int64_t count) {
  size_t total = 0;
  if (__builtin_mul_overflow(size, static_cast<size_t>(count), &total)) too_large();
  return total;
}

// text * count or list * count, whichever side it stands on.
std::optional<Value> repeat(const Value& value, const Value& times, Meter& meter) {
  const auto given = times.integer();
  if (!given) return std::nullopt;
  const int64_t count = std::max<int64_t>(*given, 0);
  if (const MarkedText* text = value.text()) {
    meter.spend_bytes(repeated_size(text->size(), count));
    MarkedText out;
    if (!text->empty())
      for (int64_t i = 0; i < count; ++i) out.append(*text);
    return Value(std::move(out));
  }
  const List* list = value.list();
  if (list == nullptr || !list->indexable()) return std::nullopt;
  meter.spend_elements(repeated_size(list->values.size(), count));
  Values out;
  if (!list->values.empty())
    for (int64_t i = 0; i < count; ++i) out.insert(out.end(), list->values.begin(), list->values.end());
  return make_list(std::move(out), list->kind);
}

std::optional<Value> join(const Value& left, const Value& right, Meter& meter) {
  if (left.text() != nullptr && right.text() != nullptr) {
    meter.spend_bytes(left.text()->size() + right.text()->size());
    MarkedText out = *left.text();
    out.append(*right.text());
    return Value(std::move(out));
  }
  const List *first = left.list(), *second = right.list();
  if (first == nullptr || second == nullptr || first->kind != second->kind || !first->indexable()) return std::nullopt;
  meter.spend_elements(first->values.size() + second->values.size());
  Values values = first->values;
  values.insert(values.end(), second->values.begin(), second->values.end());
  return make_list(std::move(values), first->kind);
}

// The element at a position that may count from the end.
std::optional<size_t> position(int64_t index, size_t length) {
  if (index < 0) index += static_cast<int64_t>(length);
  if (index < 0 || index >= static_cast<int64_t>(length)) return std::nullopt;
  return static_cast<size_t>(index);
}

// The grouper or the list of a group.
std::optional<Value> name_in_group(const Value& object, const Value& name) {
  const List* group = object.list();
  if (group == nullptr || group->kind != ListKind::group || name.text() == nullptr) return std::nullopt;
  if (name.text()->bytes() == "grouper") return group->values[0];
  return name.text()->bytes() == "list" ? std::optional<Value>(group->values[1]) : std::nullopt;
}

std::optional<Value> find_item(const Value& object, const Value& index, Meter& meter) {
  if (const Dict* dict = object.dict()) {
    meter.spend(dict->entries.size() / 8);
    const Value* found = dict->find(index);
    return found != nullptr ? std::optional<Value>(*found) : std::nullopt;
  }
  if (Object* thing = object.object()) return index.text() ? thing->attribute(index.text()->bytes()) : std::nullopt;
  const auto number = index.integer();
  if (!number) return name_in_group(object, index);
  if (const List* list = object.list(); list != nullptr && list->indexable()) {
    const auto at = position(*number, list->values.size());
    return at ? std::optional<Value>(list->values[*at]) : std::nullopt;
  }
  const MarkedText* text = object.text();
  if (text == nullptr) return std::nullopt;
  meter.spend_bytes(text->size());
  const std::vector<size_t> offsets = character_offsets(text->bytes());
  const auto at = position(*number, offsets.size() - 1);
  return at ? std::optional<Value>(text->slice(offsets[*at], offsets[*at + 1])) : std::nullopt;
}

}  // namespace

Value apply_unary(UnaryOp op, const Value& operand) {
  if (op == UnaryOp::invert) return !truth(operand);
  if (const auto number = operand.integer()) {
    if (op == UnaryOp::plus) return *number;
    return integer_result(BinaryOp::subtract, 0, *number);
  }
  const auto number = operand.number();
  if (!number) type_error("a sign is not possible for", operand);
  return op == UnaryOp::plus ? *number : -*number;
}

Value apply_binary(BinaryOp op, const Value& left, const Value& right, Meter& meter) {
  if (left.integer() && right.integer()) return integer_result(op, *left.integer(), *right.integer());
  if (left.number() && right.number()) return double_result(op, *left.number(), *right.number());
  std::optional<Value> result;
  if (op == BinaryOp::add) result = join(left, right, meter);
  if (op == BinaryOp::multiply) result = left.number() ? repeat(right, left, meter) : repeat(left, right, meter);
  if (op == BinaryOp::modulo && left.text() != nullptr) result = Value(format_percent(*left.text(), right, meter));
  if (result) return *std::move(result);
  if (left.is_undefined()) type_error("", left);
  type_error(fmt::format("'{}' is not possible for '{}' and", symbol(op), type_name(left)), right);
}

bool apply_compare(CompareOp op, const Value& left, const Value& right, Meter& meter) {
  switch (op) {
    case CompareOp::eq: return equal(left, right, meter);
    case CompareOp::ne: return !equal(left, right, meter);
    case CompareOp::in: return contains(right, left, meter);
    case CompareOp::not_in: return !contains(right, left, meter);
    default: break;
  }
  const int order = compare(left, right, meter);
  const auto first = left.number(), second = right.number();
  if (first && second && (std::isnan(*first) || std::isnan(*second))) return false;
  switch (op) {
    case CompareOp::lt: return order < 0;
    case CompareOp::le: return order <= 0;
    case CompareOp::gt: return order > 0;
    default: return order >= 0;
  }
}

bool contains(const Value& container, const Value& item, Meter& meter) {
  if (const MarkedText* text = container.text()) {
    if (item.text() == nullptr) type_error("only a string can be in a string, not", item);
    meter.spend_bytes(text->size());
    return text->bytes().find(item.text()->bytes()) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) {
    check_hashable(item);
    meter.spend(dict->entries.size() / 8);
    return dict->find(item) != nullptr;
  }
  if (container.is_undefined()) return false;
  const List* list = container.list();
  if (list == nullptr) type_error("nothing can be in", container);
  return std::any_of(list->values.begin(), list->values.end(),
                     [&](const Value& value) { return equal(value, item, meter); });
}

Value subscript(const Value& object, const Value& index, Meter& meter) {
  if (object.is_undefined()) type_error("", object);
  if (auto item = find_item(object, index, meter)) return *std::move(item);
  if (object.is_none()) return Value::undefined(fmt::format("none has no attribute {}", to_repr(index, meter).bytes()));
  const bool named = index.text() != nullptr;
  return Value::undefined(fmt::format("'{} object' has no {} {}", type_name(object), named ? "attribute" : "element",
                                      to_repr(index, meter).bytes()));
}

Value slice(const Value& object, const Value& start, const Value& stop, const Value& step, Meter& meter) {
  const int64_t stride = integer_or(&step, 1);
  if (stride == 0) fail(ErrorCode::invalid_model, "a slice cannot have the step 0");
  const auto bounds = [&](size_t length) {
    return slice_bounds(optional_integer(&start), optional_integer(&stop), stride, static_cast<int64_t>(length));
  };
  if (const MarkedText* text = object.text()) {
    meter.spend_bytes(text->size());
    return slice_characters(*text, bounds(length(object).value()));
  }
  const List* list = object.list();
  if (object.is_undefined()) type_error("", object);
  if (list == nullptr || !list->indexable())
    return Value::undefined(fmt::format("'{} object' has no slices", type_name(object)));
  Values out;
  for_each_index(bounds(list->values.size()), [&](size_t i) { out.push_back(list->values[i]); });
  meter.spend_elements(out.size());
  return make_list(std::move(out), list->kind);
}

}  // namespace lathe::text
