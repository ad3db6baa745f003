// Typed reading of tokenizer files that are JSON. An error names the component of the tokenizer that the field belongs
// to.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace lathe::text {

using nlohmann::json;

[[noreturn]] inline void malformed(std::string_view component, std::string_view what) {
  fail(ErrorCode::invalid_model, "{}: {}", component, what);
}

[[noreturn]] inline void unknown_component(std::string_view component, std::string_view type) {
  fail(ErrorCode::unsupported, "the tokenizer's {} is of type '{}', which Lathe does not know", component, type);
}

// The document, which must be an object.
inline json parse_object(std::string_view text) {
  json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) fail(ErrorCode::invalid_model, "not a JSON object");
  return document;
}

// A field's value; null counts as absent. The pointer is null when it is absent.
inline const json* find(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

template <class T>
std::optional<T> convert(const json& value) {
  if constexpr (std::is_same_v<T, bool>) {
    if (value.is_boolean()) return value.get<bool>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (value.is_string()) return value.get<std::string>();
  } else if constexpr (std::is_same_v<T, double>) {
    if (value.is_number()) return value.get<double>();
  } else {
    static_assert(std::is_same_v<T, int64_t>);
    // Ids and counts: never negative, and below 2^63 where an unsigned number must be to fit.
    if (value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{INT64_MAX}) return value.get<int64_t>();
  }
  return std::nullopt;
}

template <class T>
std::optional<T> optional_field(const json& object, const char* key, std::string_view component) {
  const json* value = find(object, key);
  if (value == nullptr) return std::nullopt;
  auto converted = convert<T>(*value);
  if (!converted) malformed(component, fmt::format("the field '{}' has the wrong type", key));
  return converted;
}

template <class T>
T field(const json& object, const char* key, std::string_view component) {
  auto value = optional_field<T>(object, key, component);
  if (!value) malformed(component, fmt::format("the field '{}' is missing", key));
  return *std::move(value);
}

// A field that is a list.
inline const json& list_field(const json& object, const char* key, std::string_view component) {
  const json* list = find(object, key);
  if (list == nullptr || !list->is_array()) malformed(component, fmt::format("the list '{}' is missing", key));
  return *list;
}

}  // namespace lathe::text
