#include "checkpoint/fields.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "checkpoint/spellings.h"

namespace lathe::checkpoint {
namespace {

using nlohmann::json;

bool is_integer(const json& value) {
  return value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t{INT64_MAX});
}

}  // namespace

json Fields::parse(std::string_view text, std::string_view where) {
  try {
    json document = json::parse(text);
    if (!document.is_object()) fail(ErrorCode::invalid_model, "{} is not a JSON object", where);
    return document;
  } catch (const json::parse_error& error) {
    const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(error.byte, text.size()));
    fail(ErrorCode::invalid_model, "{} is not JSON: it cannot be read beyond line {}", where,
         1 + std::count(text.begin(), end, '\n'));
  }
}

const json* Fields::find(std::string_view keys) const {
  const json* result = nullptr;
  find_spelling(keys, [&](std::string_view spelling) {
    const std::string key(spelling);
    const auto found = object_.find(key);
    if (found == object_.end()) return false;
    read_.insert(key);
    if (result == nullptr && !found->is_null()) result = &*found;
    return false;  // further spellings count as read, too
  });
  return result;
}

bool Fields::mentions(std::string_view keys) const {
  const auto found = find_spelling(keys, [&](std::string_view key) { return object_.contains(std::string(key)); });
  if (found) read_.insert(std::string(*found));
  return found.has_value();
}

void Fields::wrong_type(std::string_view keys, std::string_view wanted) const {
  const json* value = find(keys);
  if (value == nullptr) fail(ErrorCode::invalid_model, "{} has no '{}'", where_, first_spelling(keys));
  fail(ErrorCode::invalid_model, "{}: '{}' is {}, but it must be {}", where_, first_spelling(keys), value->dump(),
       wanted);
}

std::optional<int64_t> Fields::optional_integer(std::string_view keys) const {
  const json* value = find(keys);
  if (value == nullptr) return std::nullopt;
  if (!is_integer(*value)) wrong_type(keys, "an integer");
  return value->get<int64_t>();
}

std::optional<double> Fields::optional_number(std::string_view keys) const {
  const json* value = find(keys);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number() || !std::isfinite(value->get<double>())) wrong_type(keys, "a number");
  return value->get<double>();
}

std::optional<bool> Fields::optional_flag(std::string_view keys) const {
  const json* value = find(keys);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) wrong_type(keys, "true or false");
  return value->get<bool>();
}

std::optional<std::string> Fields::optional_text(std::string_view keys) const {
  const json* value = find(keys);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) wrong_type(keys, "a text");
  return value->get<std::string>();
}

int64_t Fields::integer_up_to(std::string_view keys, int64_t largest) const {
  const auto value = optional_integer(keys);
  if (!value || *value < 1 || *value > largest) wrong_type(keys, fmt::format("an integer from 1 to {}", largest));
  return *value;
}

int64_t Fields::size(std::string_view keys) const {
  constexpr int64_t kLargest = int64_t{1} << 30;  // products of a few sizes stay far from overflow
  return integer_up_to(keys, kLargest);
}

int64_t Fields::count(std::string_view keys) const {
  constexpr int64_t kLargest = 4096;
  return integer_up_to(keys, kLargest);
}

double Fields::positive(std::string_view keys, double otherwise) const {
  const double value = number(keys, otherwise);
  if (!(value > 0)) wrong_type(keys, "a number above 0");
  return value;
}

double Fields::number(std::string_view keys) const {
  const auto value = optional_number(keys);
  if (!value) wrong_type(keys, "a number");
  return *value;
}

std::vector<int64_t> Fields::integers(std::string_view keys) const {
  const json* value = find(keys);
  if (value == nullptr) return {};
  if (is_integer(*value)) return {value->get<int64_t>()};
  std::vector<int64_t> result;
  if (!value->is_array()) wrong_type(keys, "a list of integers");
  for (const json& item : *value) {
    if (!is_integer(item)) wrong_type(keys, "a list of integers");
    result.push_back(item.get<int64_t>());
  }
  return result;
}

std::vector<double> Fields::numbers(std::string_view keys) const {
  const json* value = find(keys);
  if (value == nullptr) return {};
  std::vector<double> result;
  if (!value->is_array()) wrong_type(keys, "a list of numbers");
  for (const json& item : *value) {
    if (!item.is_number()) wrong_type(keys, "a list of numbers");
    result.push_back(item.get<double>());
  }
  return result;
}

std::vector<std::string> Fields::texts(std::string_view keys) const {
  const json* value = find(keys);
  if (value == nullptr) return {};
  std::vector<std::string> result;
  if (!value->is_array()) wrong_type(keys, "a list of texts");
  for (const json& item : *value) {
    if (!item.is_string()) wrong_type(keys, "a list of texts");
    result.push_back(item.get<std::string>());
  }
  return result;
}

void Fields::expect_flag(std::string_view key, bool value) const {
  if (optional_flag(key).value_or(value) != value) refuse(key);
}

void Fields::expect_number(std::string_view key, double value) const {
  if (number(key, value) != value) refuse(key);
}

void Fields::refuse(std::string_view keys) const {
  const json* value = find(keys);
  fail(ErrorCode::unsupported, "{}: Lathe does not know how to compute with '{}' = {}", where_, first_spelling(keys),
       value == nullptr ? "null" : value->dump());
}

void Fields::expect_all_read(const std::set<std::string, std::less<>>& neutral) const {
  std::string unknown;
  for (const auto& [key, value] : object_.items()) {
    const bool matters = !value.is_null() && key.rfind('_', 0) != 0;
    if (!matters || read_.count(key) > 0 || neutral.count(key) > 0) continue;
    unknown += fmt::format("{}'{}' = {}", unknown.empty() ? "" : ", ", key, value.dump());
  }
  if (unknown.empty()) return;
  throw Error(ErrorCode::unsupported, fmt::format("{} has fields that Lathe does not know: {}", where_, unknown))
      .remedy("Fields that do not change what the model computes may be taken out of the file");
}

}  // namespace lathe::checkpoint
