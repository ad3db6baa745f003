// How a model wants a conversation to be written: the chat template in its folder, or where there is none, the form
// that its family documents.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "lathe/llm.h"
#include "text/chat_template/chat_template.h"

namespace lathe::llm {

class ChatPrompt {
 public:
  // Looks for chat_template.jinja, then for a template in tokenizer_config.json and chat_template.json. Throws
  // Error(invalid_model, unsupported) that names the file when a template cannot be read.
  static ChatPrompt load(const std::filesystem::path& folder, std::string_view family);

  // Up to where the assistant's next answer begins.
  text::RenderedPrompt render(std::span<const ChatMessage> messages) const;

 private:
  ChatPrompt(text::ChatTemplate chat_template, nlohmann::ordered_json variables)
      : template_(std::move(chat_template)), variables_(std::move(variables)) {}

  text::ChatTemplate template_;
  nlohmann::ordered_json variables_;  // bos_token and others that templates print
};

}  // namespace lathe::llm
