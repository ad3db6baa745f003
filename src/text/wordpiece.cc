#include "text/wordpiece.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "text/decoders.h"

namespace lathe::text {
namespace {

bool is_continuation_byte(char byte) { return (static_cast<unsigned char>(byte) & 0xC0u) == 0x80u; }

// Applied to one token at a time, after the blank that separates it from the token before was put in front.
void clean_up(std::string& token) {
  clean_up_english(token);
  replace_all(token, " do not", " don't");
}

TokenId require(const Vocabulary& vocabulary, std::string_view token) {
  const auto id = vocabulary.id(token);
  if (!id) fail(ErrorCode::invalid_model, "the unknown token '{}' is not in the vocabulary", token);
  return *id;
}

}  // namespace

WordPiece::WordPiece(Vocabulary vocabulary, const WordPieceOptions& options)
    : TokenModel(std::move(vocabulary)), options_(options), unk_id_(require(this->vocabulary(), options.unk_token)) {}

void WordPiece::tokenize(std::string_view word, std::vector<TokenId>& ids) const {
  if (count_code_points(word) > options_.max_input_chars_per_word) {
    ids.push_back(unk_id_);
    return;
  }
  const size_t first = ids.size();
  std::string candidate;
  for (size_t start = 0; start < word.size();) {
    const std::string_view prefix = start > 0 ? std::string_view(options_.continuing_subword_prefix) : "";
    candidate.assign(prefix).append(word.substr(start, vocabulary().longest_token()));
    // Shorten by one character until the vocabulary knows it. A cut inside a character cannot match: tokens are UTF-8.
    std::optional<TokenId> id;
    while (candidate.size() > prefix.size() && !(id = vocabulary().id(candidate))) {
      while (candidate.size() > prefix.size() && is_continuation_byte(candidate.back())) candidate.pop_back();
      if (candidate.size() > prefix.size()) candidate.pop_back();
    }
    if (!id) {
      ids.resize(first);
      ids.push_back(unk_id_);
      return;
    }
    ids.push_back(*id);
    start += candidate.size() - prefix.size();
  }
}

void WordPieceDecoder::decode(std::vector<std::string>& tokens) const {
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::string& token = tokens[i];
    if (i > 0) {
      if (token.starts_with(prefix_))
        token.erase(0, prefix_.size());
      else
        token.insert(0, 1, ' ');
    }
    if (cleanup_) clean_up(token);
  }
}

}  // namespace lathe::text
