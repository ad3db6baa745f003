// How a conversation becomes the prompt of the model in a folder: by the folder's own chat template, else by the
// documented prompt of its family, else as plain text to be continued. source() says which of them it was.
//
// The folder's template is, in this order, chat_template.jinja, the chat_template of tokenizer_config.json (one, or
// several with names, of which tool_use serves conversations with tools), chat_template.json. Templates see the special
// tokens of tokenizer_config.json and special_tokens_map.json as variables: bos_token, eos_token ...
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "text/chat_template/chat_template.h"

namespace lathe::text {

class PromptFormat {
 public:
  // Throws Error(invalid_model) that names the file when a template or a JSON file is malformed. A folder that has
  // none of these files gets the plain format.
  static PromptFormat load(const std::filesystem::path& folder);
  PromptFormat(PromptFormat&&) noexcept;
  PromptFormat& operator=(PromptFormat&&) noexcept;
  ~PromptFormat();

  // `conversation` has messages and what else ChatTemplate::render() takes; its variables win over the folder's.
  RenderedPrompt render(const nlohmann::ordered_json& conversation, const RenderOptions& options = {}) const;

  const std::string& source() const { return source_; }  // "the chat template of tokenizer_config.json", for people
  bool is_plain() const { return plain_; }               // there are no turns: text is continued
  // Whether the prompt spells out all special tokens, so that the tokeniser must not add its own (no second <s>).
  bool has_special_tokens() const { return from_folder_; }
  // Where a turn of the model ends although no special token ends it.
  const std::vector<std::string>& stop_strings() const { return stop_strings_; }

 private:
  PromptFormat();

  bool load_templates(const std::filesystem::path& folder, const nlohmann::ordered_json& settings);
  void load_template(std::string name, const std::string& text, const std::filesystem::path& file);
  void use_family(const std::filesystem::path& folder);

  std::vector<std::pair<std::string, ChatTemplate>> templates_;  // by name; the first serves where none is asked for
  std::unique_ptr<nlohmann::ordered_json> variables_;
  std::string source_;
  std::vector<std::string> stop_strings_;
  bool plain_ = false, from_folder_ = false;
};

}  // namespace lathe::text
