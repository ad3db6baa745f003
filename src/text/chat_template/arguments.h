// How builtin filters, tests and methods read their arguments: each reader takes what Arguments::next() gave and says
// what stands there when nothing, or none, was given.
#pragma once

#include <optional>
#include <string_view>

#include "text/chat_template/value.h"

namespace lathe::text {

inline std::optional<int64_t> optional_integer(const Value* value) {
  if (value == nullptr || value->is_none()) return std::nullopt;
  const auto number = value->integer();
  if (!number) type_error("an integer is expected, not", *value);
  return number;
}

inline int64_t integer_or(const Value* value, int64_t otherwise) { return optional_integer(value).value_or(otherwise); }

inline bool truth_or(const Value* value, bool otherwise) { return value != nullptr ? truth(*value) : otherwise; }

// Null where nothing was given.
inline const MarkedText* optional_text(const Value* value) {
  if (value == nullptr || value->is_none()) return nullptr;
  if (value->text() == nullptr) type_error("a string is expected, not", *value);
  return value->text();
}

inline std::optional<std::string_view> optional_bytes(const Value* value) {
  const MarkedText* text = optional_text(value);
  return text != nullptr ? std::optional<std::string_view>(text->bytes()) : std::nullopt;
}

inline const Value& required(const Value* value, std::string_view callee, std::string_view parameter) {
  if (value == nullptr) fail(ErrorCode::invalid_model, "{} needs the argument '{}'", callee, parameter);
  return *value;
}

inline const MarkedText& required_text(const Value* value, std::string_view callee, std::string_view parameter) {
  const Value& given = required(value, callee, parameter);
  if (given.text() == nullptr) type_error("a string is expected, not", given);
  return *given.text();
}

}  // namespace lathe::text
