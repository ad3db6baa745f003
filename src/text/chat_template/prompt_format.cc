#include "text/chat_template/prompt_format.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/ascii.h"
#include "base/error.h"
#include "base/mapped_file.h"

namespace lathe::text {
namespace {

using nlohmann::ordered_json;

std::string read_text(const std::filesystem::path& file) { return std::string(MappedFile::open(file)->text()); }

// An empty object when there is no such file.
ordered_json read_object(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return ordered_json::object();
  ordered_json document = ordered_json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) throw Error(ErrorCode::invalid_model, "not a JSON object").in_file(file.string());
  return document;
}

// Special tokens are strings, or objects with the string as content.
void add_special_tokens(const ordered_json& settings, ordered_json& variables) {
  for (const auto& [key, value] : settings.items()) {
    const ordered_json& content = value.is_object() && value.contains("content") ? value["content"] : value;
    const bool list = key == "additional_special_tokens" && value.is_array();
    if (list || (key.ends_with("_token") && content.is_string())) variables[key] = content;
  }
}

// What tells the members of a family apart.
struct ModelFacts {
  std::string type;  // model_type
  std::string name;  // of the folder and of the model that it came from, lower case
  ordered_json config, generation;

  bool has_more_tokens_than(int64_t count) const {
    const auto size = config.find("vocab_size");
    return size != config.end() && size->is_number_integer() && size->get<int64_t>() > count;
  }
  bool is_named(std::string_view part) const { return name.find(part) != std::string::npos; }
};

ModelFacts read_facts(const std::filesystem::path& folder) {
  ModelFacts facts;
  facts.config = read_object(folder / "config.json");
  facts.generation = read_object(folder / "generation_config.json");
  const auto text = [&](const char* key) {
    const auto found = facts.config.find(key);
    return found != facts.config.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  facts.type = text("model_type");
  const auto path = std::filesystem::absolute(folder).lexically_normal();
  const auto last = path.has_filename() ? path.filename() : path.parent_path().filename();
  facts.name = ascii_lower(last.string() + " " + text("_name_or_path"));
  return facts;
}

struct Family {
  std::string_view source;
  bool (*matches)(const ModelFacts& facts);
  std::string_view chat_template;
  std::string_view stop_string;
};

// Prompts as the models' own code builds them, for checkpoints without a template. A system message, which that code
// does not know unless it shows below, stands before everything else.
constexpr std::array kFamilies = {
    Family{"the documented prompt of TigerBot",
           [](const ModelFacts& facts) {
             return (facts.type == "bloom" || facts.type == "llama") && facts.is_named("tigerbot");
           },
           "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}"
           "{% elif m.role == 'system' %}{{ m.content }}"
           "{% else %}{{ '\\n\\n### Instruction:\\n' + m.content + '\\n\\n### Response:\\n' }}{% endif %}{% endfor %}",
           "\n\n### Instruction:"},
    Family{"the documented prompt of ChatGLM3",
           [](const ModelFacts& facts) { return facts.type == "chatglm" && facts.is_named("chatglm3"); },
           "{% for m in messages %}{{ '<|' + m.role + '|>\\n ' + m.content }}{% endfor %}"
           "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
           ""},
    Family{
        "the documented prompt of ChatGLM2",
        [](const ModelFacts& facts) { return facts.type == "chatglm" && facts.config.contains("padded_vocab_size"); },
        "{% set ns = namespace(round=0) %}{% for m in messages %}"
        "{% if m.role == 'system' %}{{ m.content + '\\n\\n' }}"
        "{% elif m.role == 'assistant' %}{{ m.content + '\\n\\n' }}"
        "{% else %}{% set ns.round = ns.round + 1 %}"
        "{{ '[Round ' ~ ns.round ~ ']\\n\\n问：' ~ m.content ~ '\\n\\n答：' }}{% endif %}{% endfor %}",
        ""},
    Family{"the documented prompt of ChatGLM-6B", [](const ModelFacts& facts) { return facts.type == "chatglm"; },
           "{% set turns = messages | rejectattr('role', 'eq', 'system') | list %}"
           "{% for m in messages if m.role == 'system' %}{{ m.content + '\\n' }}{% endfor %}"
           "{% if turns | length == 1 %}{{ turns[0].content }}{% else %}"
           "{% set ns = namespace(round=0) %}{% for m in turns %}"
           "{% if m.role == 'assistant' %}{{ m.content + '\\n' }}"
           "{% else %}{{ '[Round ' ~ ns.round ~ ']\\n问：' ~ m.content ~ '\\n答：' }}"
           "{% set ns.round = ns.round + 1 %}{% endif %}{% endfor %}{% endif %}",
           ""},
    Family{"the documented prompt of Baichuan2",
           [](const ModelFacts& facts) {
             return facts.type == "baichuan" && facts.generation.contains("user_token_id") &&
                    facts.has_more_tokens_than(64'000);
           },
           "{% for m in messages %}"
           "{{ {'system': '', 'assistant': '<reserved_107>'}.get(m.role, '<reserved_106>') + m.content }}{% endfor %}"
           "{% if add_generation_prompt %}{{ '<reserved_107>' }}{% endif %}",
           ""},
    Family{
        "the documented prompt of Baichuan",
        [](const ModelFacts& facts) { return facts.type == "baichuan" && facts.generation.contains("user_token_id"); },
        "{% for m in messages %}"
        "{{ {'system': '', 'assistant': '<reserved_103>'}.get(m.role, '<reserved_102>') + m.content }}"
        "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<reserved_103>' }}{% endif %}",
        ""},
    Family{"the documented prompt of Llama 2 Chat",
           [](const ModelFacts& facts) {
             return facts.type == "llama" && (facts.is_named("llama-2") || facts.is_named("llama2")) &&
                    facts.is_named("chat");
           },
           "{% set ns = namespace(system='') %}{% for m in messages %}"
           "{% if m.role == 'system' %}{% set ns.system = '<<SYS>>\\n' + m.content + '\\n<</SYS>>\\n\\n' %}"
           "{% elif m.role == 'assistant' %}{{ ' ' + m.content.strip() + ' ' + (eos_token or '</s>') }}"
           "{% else %}{% if not loop.first and messages[loop.index0 - 1].role == 'assistant' %}"
           "{{ bos_token or '<s>' }}{% endif %}{{ '[INST] ' + ns.system + m.content.strip() + ' [/INST]' }}"
           "{% set ns.system = '' %}{% endif %}{% endfor %}",
           ""}};

constexpr std::string_view kPlain = "{% for m in messages %}{{ m.content }}{% endfor %}";

}  // namespace

PromptFormat::PromptFormat() : variables_(std::make_unique<ordered_json>(ordered_json::object())) {}
PromptFormat::PromptFormat(PromptFormat&&) noexcept = default;
PromptFormat& PromptFormat::operator=(PromptFormat&&) noexcept = default;
PromptFormat::~PromptFormat() = default;

PromptFormat PromptFormat::load(const std::filesystem::path& folder) {
  PromptFormat format;
  const ordered_json settings = read_object(folder / "tokenizer_config.json");
  add_special_tokens(read_object(folder / "special_tokens_map.json"), *format.variables_);
  add_special_tokens(settings, *format.variables_);
  format.from_folder_ = format.load_templates(folder, settings);
  if (!format.from_folder_) format.use_family(folder);
  return format;
}

bool PromptFormat::load_templates(const std::filesystem::path& folder, const ordered_json& settings) {
  const auto file = folder / "chat_template.jinja";
  const auto settings_file = folder / "tokenizer_config.json";
  const auto beside = folder / "chat_template.json";
  const auto own = settings.find("chat_template");
  if (std::filesystem::exists(file)) {
    load_template("default", read_text(file), file);
  } else if (own != settings.end() && own->is_string()) {
    load_template("default", own->get<std::string>(), settings_file);
  } else if (own != settings.end() && own->is_array()) {
    for (const ordered_json& entry : *own) {
      const bool proper = entry.is_object() && entry.contains("name") && entry["name"].is_string() &&
                          entry.contains("template") && entry["template"].is_string();
      if (!proper)
        throw Error(ErrorCode::invalid_model, "the chat templates are no pairs of name and template")
            .in_file(settings_file.string());
      load_template(entry["name"].get<std::string>(), entry["template"].get<std::string>(), settings_file);
    }
  } else if (const ordered_json document = read_object(beside); document.contains("chat_template")) {
    if (!document["chat_template"].is_string())
      throw Error(ErrorCode::invalid_model, "the field 'chat_template' is no string").in_file(beside.string());
    load_template("default", document["chat_template"].get<std::string>(), beside);
  }
  const auto by_default =
      std::find_if(templates_.begin(), templates_.end(), [](const auto& entry) { return entry.first == "default"; });
  if (by_default != templates_.end()) std::rotate(templates_.begin(), by_default, by_default + 1);
  return !templates_.empty();
}

void PromptFormat::load_template(std::string name, const std::string& text, const std::filesystem::path& file) {
  try {
    templates_.emplace_back(std::move(name), ChatTemplate::parse(text));
  } catch (Error& error) {
    error.in_file(file.string());
    throw;
  }
  source_ = "the chat template of " + file.filename().string();
}

void PromptFormat::use_family(const std::filesystem::path& folder) {
  const ModelFacts facts = read_facts(folder);
  const auto family =
      std::find_if(kFamilies.begin(), kFamilies.end(), [&](const Family& entry) { return entry.matches(facts); });
  plain_ = family == kFamilies.end();
  source_ = plain_ ? "none: the text is continued as it is" : std::string(family->source);
  templates_.emplace_back("default", ChatTemplate::parse(plain_ ? kPlain : family->chat_template));
  if (!plain_ && !family->stop_string.empty()) stop_strings_.emplace_back(family->stop_string);
}

RenderedPrompt PromptFormat::render(const ordered_json& conversation, const RenderOptions& options) const {
  if (!conversation.is_object()) fail(ErrorCode::invalid_argument, "a conversation is a JSON object with messages");
  ordered_json variables = *variables_;
  variables.update(conversation);
  const auto tools = variables.find("tools");
  const bool wants_tools = tools != variables.end() && !tools->empty();
  const auto chosen = std::find_if(templates_.begin(), templates_.end(),
                                   [&](const auto& entry) { return wants_tools && entry.first == "tool_use"; });
  return (chosen != templates_.end() ? *chosen : templates_.front()).second.render(variables, options);
}

}  // namespace lathe::text
