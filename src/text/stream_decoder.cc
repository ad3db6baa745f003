#include "text/stream_decoder.h"

#include <string_view>
#include <utility>

#include "base/utf8.h"

namespace lathe::text {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";

// Counted in characters: bytes that turn out not to be UTF-8 after all change in length, not in number.
std::string behind(const std::string& text, size_t characters) {
  size_t at = 0;
  for (size_t i = 0; i < characters && at < text.size(); ++i) next_code_point(text, at);
  return text.substr(at);
}

}  // namespace

std::string StreamDecoder::push(TokenId id) {
  window_.push_back(id);
  const std::string text = text_of_window();
  if (text.ends_with(kReplacement)) return "";
  std::string piece = behind(text, given_characters_);
  if (piece.empty()) return piece;  // a special token, say; or it takes back what was there
  // The ids before the new ones can go, if the new ones have a text of their own to begin the window with.
  std::vector<TokenId> fresh(window_.begin() + static_cast<std::ptrdiff_t>(given_ids_), window_.end());
  const std::string fresh_text = tokenizer_.decode_plain(fresh, skip_special_);
  const bool stands_alone = !fresh_text.empty() && !fresh_text.ends_with(kReplacement);
  if (stands_alone) window_ = std::move(fresh);
  given_ids_ = window_.size();
  given_characters_ = count_code_points(stands_alone ? fresh_text : text);
  return piece;
}

std::string StreamDecoder::finish() {
  std::string rest = behind(text_of_window(), given_characters_);
  window_.clear();
  given_ids_ = given_characters_ = 0;
  return rest;
}

}  // namespace lathe::text
