#include "text/tokenizer_settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "text/json_fields.h"

namespace lathe::text {
namespace {

struct RoleKey {
  const char* key;
  std::optional<TokenId> SpecialTokens::*role;
};

// In the order in which tokens get new ids.
constexpr std::array kRoleKeys = {RoleKey{"bos_token", &SpecialTokens::bos},  RoleKey{"eos_token", &SpecialTokens::eos},
                                  RoleKey{"unk_token", &SpecialTokens::unk},  RoleKey{"sep_token", &SpecialTokens::sep},
                                  RoleKey{"pad_token", &SpecialTokens::pad},  RoleKey{"cls_token", &SpecialTokens::cls},
                                  RoleKey{"mask_token", &SpecialTokens::mask}};

// Tokenizers that make their post-processor from add_bos_token and add_eos_token, whatever their file says.
constexpr std::array<std::string_view, 5> kLlamaClasses = {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer",
                                                           "BaichuanTokenizer", "InternLM2Tokenizer"};

bool is_added(const TokenizerParts& parts, std::string_view content) {
  return std::any_of(parts.added_tokens.begin(), parts.added_tokens.end(),
                     [&](const AddedToken& token) { return token.content == content; });
}

// added_tokens_decoder: {"<id>": {"content": ..., "special": ...}}.
void add_listed_tokens(const json& settings, TokenizerParts& parts) {
  const json* list = find(settings, "added_tokens_decoder");
  if (list == nullptr) return;
  constexpr std::string_view kName = "added_tokens_decoder";
  if (!list->is_object()) malformed(kName, "not an object");
  for (const auto& [key, entry] : list->items()) {
    AddedToken token;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token.id);
    if (error != std::errc() || end != key.data() + key.size() || token.id < 0)
      malformed(kName, fmt::format("'{}' is no id", key));
    const auto flag = [&entry = entry, where = kName](const char* name) {
      return optional_field<bool>(entry, name, where).value_or(false);
    };
    token.content = field<std::string>(entry, "content", kName);
    token.single_word = flag("single_word");
    token.lstrip = flag("lstrip");
    token.rstrip = flag("rstrip");
    token.normalized = flag("normalized");
    token.special = flag("special");
    if (!is_added(parts, token.content)) parts.added_tokens.push_back(std::move(token));
  }
}

// A token that is to stand around texts, if `wanted`.
std::vector<TokenId> boundary(const json& settings, const TokenizerParts& parts, bool wanted, const char* key,
                              const char* usual) {
  if (!wanted) return {};
  const std::string content = token_of(settings, key).value_or(usual);
  const auto id = find_token(parts, content);
  if (!id) malformed(kSettingsFile, fmt::format("the {} '{}' is no token", key, content));
  return {*id};
}

}  // namespace

std::string class_of(const json& settings) {
  auto name = optional_field<std::string>(settings, "tokenizer_class", kSettingsFile).value_or("");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name;
}

std::optional<std::string> token_of(const json& settings, const char* key) {
  const json* name = find(settings, key);
  if (name != nullptr && name->is_object()) name = find(*name, "content");
  return name != nullptr && name->is_string() ? std::optional(name->get<std::string>()) : std::nullopt;
}

std::optional<TokenId> find_token(const TokenizerParts& parts, std::string_view content) {
  for (const AddedToken& token : parts.added_tokens)
    if (token.content == content) return token.id;
  return parts.model->vocabulary().id(content);
}

void read_roles(const json& settings, const TokenizerParts& parts, SpecialTokens& special) {
  for (const auto& [key, role] : kRoleKeys)
    if (const auto name = token_of(settings, key); name && !(special.*role)) special.*role = find_token(parts, *name);
}

void add_role_tokens(const json& settings, MissingTokens missing, TokenizerParts& parts) {
  TokenId next = static_cast<TokenId>(parts.model->vocabulary().size());
  for (const AddedToken& token : parts.added_tokens) next = std::max(next, token.id + 1);
  for (const auto& [key, role] : kRoleKeys) {
    const auto content = token_of(settings, key);
    if (!content || is_added(parts, *content)) continue;
    auto id = find_token(parts, *content);
    if (!id && missing == MissingTokens::get_new_ids) id = next++;
    if (!id) continue;
    AddedToken& token = parts.added_tokens.emplace_back();
    token.id = *id;
    token.content = *content;
    token.special = true;
  }
}

void apply_settings(const json& settings, bool own_tokens, TokenizerParts& parts) {
  parts.clean_up_spaces = optional_field<bool>(settings, "clean_up_tokenization_spaces", kSettingsFile).value_or(false);
  if (!own_tokens) return add_listed_tokens(settings, parts);
  const std::string name = class_of(settings);
  const auto bos = optional_field<bool>(settings, "add_bos_token", kSettingsFile);
  const auto eos = optional_field<bool>(settings, "add_eos_token", kSettingsFile);
  const bool decides =
      (bos || eos) && std::find(kLlamaClasses.begin(), kLlamaClasses.end(), name) != kLlamaClasses.end();
  if (!decides) return;
  parts.post_processor =
      PostProcessor::around_each(boundary(settings, parts, bos.value_or(true), "bos_token", "<s>"),
                                 boundary(settings, parts, eos.value_or(false), "eos_token", "</s>"));
}

}  // namespace lathe::text
