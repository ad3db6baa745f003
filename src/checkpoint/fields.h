// Reads a JSON object whose every field must be accounted for: a field of config.json that nobody asked for may change
// what the model computes, so it is an error unless it is known not to matter or says nothing (null). Only for sources
// of this room: headers of other rooms do not see JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::checkpoint {

// Keys are lists of spellings, "hidden_size|n_embd": families name one quantity differently; the first that is there
// counts. Null counts as absent. Values of the wrong type are Error(invalid_model), missing ones too.
class Fields {
 public:
  // `where` names the object in messages: "config.json", "rope_scaling".
  Fields(const nlohmann::json& object, std::string where) : object_(object), where_(std::move(where)) {}
  // Parses text that must be a JSON object; it must outlive the readers of it.
  static nlohmann::json parse(std::string_view text, std::string_view where);

  bool has(std::string_view keys) const { return find(keys) != nullptr; }
  // Whether the field is there, if only as null: which may say "none" where no word means the default of the family.
  bool mentions(std::string_view keys) const;
  std::optional<int64_t> optional_integer(std::string_view keys) const;
  std::optional<double> optional_number(std::string_view keys) const;
  std::optional<bool> optional_flag(std::string_view keys) const;
  std::optional<std::string> optional_text(std::string_view keys) const;

  int64_t size(std::string_view keys) const;  // at least 1
  int64_t size(std::string_view keys, int64_t otherwise) const { return has(keys) ? size(keys) : otherwise; }
  // From 1 to a few thousand: of layers, heads, experts, which cost something each.
  int64_t count(std::string_view keys) const;
  double number(std::string_view keys) const;
  double number(std::string_view keys, double otherwise) const { return optional_number(keys).value_or(otherwise); }
  double positive(std::string_view keys, double otherwise) const;
  bool flag(std::string_view keys, bool otherwise) const { return optional_flag(keys).value_or(otherwise); }
  // Empty when absent. A single number stands for a list of it alone.
  std::vector<int64_t> integers(std::string_view keys) const;
  std::vector<double> numbers(std::string_view keys) const;
  std::vector<std::string> texts(std::string_view keys) const;
  // Null when absent; what it holds is up to the caller, who accounts for its fields.
  const nlohmann::json* any(std::string_view keys) const { return find(keys); }

  // Throws Error(unsupported) unless the field is absent or has this value.
  void expect_flag(std::string_view key, bool value) const;
  void expect_number(std::string_view key, double value) const;
  // Throws Error(unsupported) naming a field and its value, neither of which Lathe knows how to compute with.
  [[noreturn]] void refuse(std::string_view keys) const;

  // Throws Error(unsupported) that lists the fields that were not asked for and are not `neutral`.
  void expect_all_read(const std::set<std::string, std::less<>>& neutral) const;

 private:
  const nlohmann::json* find(std::string_view keys) const;
  int64_t integer_up_to(std::string_view keys, int64_t largest) const;
  [[noreturn]] void wrong_type(std::string_view keys, std::string_view wanted) const;

  const nlohmann::json& object_;
  std::string where_;
  mutable std::set<std::string, std::less<>> read_;
};

}  // namespace lathe::checkpoint
