// Tokens and their ids, in both directions. Ids need not be dense: files with gaps exist.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace lathe::text {

using TokenId = int64_t;  // the type that exported models take, so that ids are fed without a copy

class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;  // not copyable: tokens_ refers to ids_
  Vocabulary& operator=(Vocabulary&&) = default;

  // A token that is there already gets the new id; the old id keeps naming it.
  void add(std::string_view token, TokenId id);

  std::optional<TokenId> id(std::string_view token) const;
  // Valid as long as the vocabulary lives.
  std::optional<std::string_view> token(TokenId id) const;
  size_t size() const { return ids_.size(); }
  // Calls visit(token, id) for each token, in no order.
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (const auto& [token, id] : ids_) visit(std::string_view(token), id);
  }
  size_t longest_token() const { return longest_token_; }  // in bytes

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  std::unordered_map<std::string, TokenId, Hash, std::equal_to<>> ids_;
  std::unordered_map<TokenId, std::string_view> tokens_;  // views of the keys of ids_, which never move
  size_t longest_token_ = 0;
};

}  // namespace lathe::text
