#include "text/vocabulary.h"

#include <algorithm>

namespace lathe::text {

void Vocabulary::add(std::string_view token, TokenId id) {
  const auto entry = ids_.insert_or_assign(std::string(token), id).first;
  tokens_.insert_or_assign(id, std::string_view(entry->first));
  longest_token_ = std::max(longest_token_, token.size());
}

std::optional<TokenId> Vocabulary::id(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::string_view> Vocabulary::token(TokenId id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace lathe::text
