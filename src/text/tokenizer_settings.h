// What tokenizer_config.json and special_tokens_map.json beside a tokenizer's file change about it: the tokens with
// roles, further added tokens, whether LLaMA's tokenizers put <s> and </s> around texts, whether decoding cleans blanks
// up.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace lathe::text {

inline constexpr std::string_view kSettingsFile = "tokenizer_config.json";

// The field tokenizer_class without the suffix "Fast"; empty when there is none.
std::string class_of(const nlohmann::json& settings);

// The token that a field such as "bos_token" names, as a string or as an object with its content.
std::optional<std::string> token_of(const nlohmann::json& settings, const char* key);

std::optional<TokenId> find_token(const TokenizerParts& parts, std::string_view content);

// Fills the roles that `special` leaves open.
void read_roles(const nlohmann::json& settings, const TokenizerParts& parts, SpecialTokens& special);

// Makes special tokens of the tokens with roles, for files that do not say which tokens are recognised in texts. Those
// that the vocabulary lacks get the ids behind it, or are left out.
enum class MissingTokens { get_new_ids, are_left_out };
void add_role_tokens(const nlohmann::json& settings, MissingTokens missing, TokenizerParts& parts);

// `own_tokens`: the tokenizer's file lists its added tokens itself. Throws Error(invalid_model).
void apply_settings(const nlohmann::json& settings, bool own_tokens, TokenizerParts& parts);

}  // namespace lathe::text
