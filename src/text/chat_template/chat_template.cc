#include "text/chat_template/chat_template.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/chat_template/evaluator.h"
#include "text/chat_template/parser.h"

namespace lathe::text {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMaxSourceBytes = 1u << 20;

// What the caller of an API may fill with anything.
constexpr std::array<std::string_view, 3> kUserVariables = {"messages", "tools", "documents"};

// Roles become part of special tokens ("<|" + role + "|>"); names can do no harm there.
bool is_plain_name(const ordered_json& value) {
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  return text.size() <= 64 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
}

Value message_value(const ordered_json& message) {
  if (!message.is_object()) return from_json(message, true);
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [key, value] : message.items())
    entries.emplace_back(Value(MarkedText::by_user(key)), from_json(value, key != "role" || !is_plain_name(value)));
  return make_dict(std::move(entries));
}

Value variable_value(const std::string& name, const ordered_json& json) {
  if (name != "messages" || !json.is_array())
    return from_json(json, std::find(kUserVariables.begin(), kUserVariables.end(), name) != kUserVariables.end());
  Values messages;
  for (const ordered_json& message : json) messages.push_back(message_value(message));
  return make_list(std::move(messages));
}

}  // namespace

struct ChatTemplate::Parsed {
  ast::Template syntax;
};

ChatTemplate::ChatTemplate(std::unique_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

ChatTemplate ChatTemplate::parse(std::string_view source) {
  if (source.size() > kMaxSourceBytes)
    fail(ErrorCode::invalid_model, "the chat template has {} bytes, {} are allowed", source.size(), kMaxSourceBytes);
  try {
    return ChatTemplate(std::make_unique<const Parsed>(Parsed{parse_template(source)}));
  } catch (const Error& error) {
    throw Error(error.code(), "chat template, " + error.message());
  }
}

RenderedPrompt ChatTemplate::render(const ordered_json& variables, const RenderOptions& options) const {
  if (!variables.is_object()) fail(ErrorCode::invalid_argument, "the variables of a chat template are no JSON object");
  Evaluator evaluator(parsed_->syntax, options);
  for (const auto& [name, json] : variables.items()) evaluator.define(name, variable_value(name, json));
  try {
    return evaluator.run();
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("chat template, line {}: {}", evaluator.line(), error.message()));
  }
}

}  // namespace lathe::text
