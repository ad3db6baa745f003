#include "llm/chat_prompt.h"

#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "base/error.h"

namespace lathe::llm {
namespace {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

std::optional<std::string> read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  return std::string{std::istreambuf_iterator<char>(file), {}};
}

ordered_json read_json(const fs::path& path) {
  const auto text = read_file(path);
  if (!text) return ordered_json::object();
  ordered_json document = ordered_json::parse(*text, nullptr, false);
  if (!document.is_object()) throw Error(ErrorCode::invalid_model, "this is no JSON object").in_file(path.string());
  return document;
}

// One template, or several with names, of which `default` is for plain conversations.
std::optional<std::string> template_of(const ordered_json& document) {
  const auto found = document.find("chat_template");
  if (found == document.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array())
    for (const ordered_json& named : *found)
      if (named.is_object() && named.value("name", "") == "default") return named.value("template", "");
  return std::nullopt;
}

// Tokens are spelt out, or objects with their content.
ordered_json token_variables(const ordered_json& config) {
  ordered_json variables = ordered_json::object();
  for (const char* name : {"bos_token", "eos_token", "pad_token", "unk_token"}) {
    const auto found = config.find(name);
    if (found == config.end()) continue;
    if (found->is_string()) variables[name] = *found;
    if (found->is_object()) variables[name] = found->value("content", "");
  }
  return variables;
}

// The form of a family, as a template.
struct FamilyForm {
  std::string_view family;
  std::string_view source;
};

// Where they are documented: chatglm, THUDM/chatglm-6b, modeling_chatglm.py (a first question stands alone); chatglm2,
// THUDM/chatglm2-6b, build_prompt(); bloom, TigerBot's infer.py.
constexpr FamilyForm kForms[] = {
    {"chatglm",
     "{%- set ns = namespace(round=0) -%}"
     "{%- for m in messages -%}"
     "{%- if m.role == 'system' -%}{{ m.content + '\\n' }}"
     "{%- elif m.role == 'user' -%}"
     "{%- if loop.last and ns.round == 0 -%}{{ m.content }}"
     "{%- else -%}{{ '[Round ' ~ ns.round ~ ']\\n问：' ~ m.content ~ '\\n答：' }}{%- endif -%}"
     "{%- set ns.round = ns.round + 1 -%}"
     "{%- else -%}{{ m.content + '\\n' }}{%- endif -%}"
     "{%- endfor -%}"},
    {"chatglm2",
     "{%- set ns = namespace(round=1) -%}"
     "{%- for m in messages -%}"
     "{%- if m.role == 'system' -%}{{ m.content + '\\n\\n' }}"
     "{%- elif m.role == 'user' -%}{{ '[Round ' ~ ns.round ~ ']\\n\\n问：' ~ m.content ~ '\\n\\n答：' }}"
     "{%- set ns.round = ns.round + 1 -%}"
     "{%- else -%}{{ m.content + '\\n\\n' }}{%- endif -%}"
     "{%- endfor -%}"},
    {"bloom",
     "{%- for m in messages -%}"
     "{%- if m.role == 'system' -%}{{ m.content }}"
     "{%- elif m.role == 'user' -%}{{ '\\n\\n### Instruction:\\n' ~ m.content ~ '\\n\\n### Response:\\n' }}"
     "{%- else -%}{{ m.content }}{%- endif -%}"
     "{%- endfor -%}"},
    {"llama",
     "{%- set ns = namespace(system='') -%}"
     "{%- for m in messages -%}"
     "{%- if m.role == 'system' -%}{%- set ns.system = '<<SYS>>\\n' ~ m.content ~ '\\n<</SYS>>\\n\\n' -%}"
     "{%- elif m.role == 'user' -%}{{ bos_token }}{{ '[INST] ' ~ ns.system ~ m.content ~ ' [/INST]' }}"
     "{%- set ns.system = '' -%}"
     "{%- else -%}{{ ' ' ~ m.content ~ ' ' }}{{ eos_token }}{%- endif -%}"
     "{%- endfor -%}"},
};

// For families that document none.
constexpr std::string_view kPlainForm =
    "{{ bos_token }}"
    "{%- for m in messages -%}"
    "{{ {'system': '', 'user': 'User: ', 'assistant': 'Assistant: '}[m.role] ~ m.content ~ '\\n' }}"
    "{%- endfor -%}"
    "Assistant:";

std::string_view form_of(std::string_view family) {
  for (const FamilyForm& form : kForms)
    if (form.family == family) return form.source;
  return kPlainForm;
}

}  // namespace

ChatPrompt ChatPrompt::load(const fs::path& folder, std::string_view family) {
  const ordered_json config = read_json(folder / "tokenizer_config.json");
  const auto parse = [&](const fs::path& file, std::string_view source) {
    try {
      return ChatPrompt(text::ChatTemplate::parse(source), token_variables(config));
    } catch (Error& error) {
      throw error.in_file(file.string());
    }
  };
  if (const auto source = read_file(folder / "chat_template.jinja"))
    return parse(folder / "chat_template.jinja", *source);
  if (const auto source = template_of(config)) return parse(folder / "tokenizer_config.json", *source);
  const fs::path other = folder / "chat_template.json";
  if (const auto source = template_of(read_json(other))) return parse(other, *source);
  return parse(folder, form_of(family));
}

text::RenderedPrompt ChatPrompt::render(std::span<const ChatMessage> messages) const {
  ordered_json variables = variables_;
  variables["messages"] = ordered_json::array();
  for (const ChatMessage& message : messages)
    variables["messages"].push_back({{"role", message.role}, {"content", message.content}});
  variables["add_generation_prompt"] = true;
  return template_.render(variables);
}

}  // namespace lathe::llm
