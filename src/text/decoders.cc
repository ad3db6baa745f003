#include "text/decoders.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/utf8.h"
#include "text/byte_level.h"

namespace lathe::text {

std::optional<unsigned char> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  unsigned char byte = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  return error == std::errc() && end == token.data() + 5 ? std::optional(byte) : std::nullopt;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

void clean_up_english(std::string& text) {
  using Rule = std::pair<std::string_view, std::string_view>;
  static constexpr std::array kRules = {Rule{" .", "."},     Rule{" ?", "?"},     Rule{" !", "!"},   Rule{" ,", ","},
                                        Rule{" ' ", "'"},    Rule{" n't", "n't"}, Rule{" 'm", "'m"}, Rule{" 's", "'s"},
                                        Rule{" 've", "'ve"}, Rule{" 're", "'re"}};
  for (const auto& [from, to] : kRules) replace_all(text, from, to);
}

void ByteFallbackDecoder::decode(std::vector<std::string>& tokens) const {
  std::vector<std::string> out;
  std::string bytes;
  const auto end_run = [&] {
    if (bytes.empty()) return;
    if (replace_malformed(bytes) == bytes)
      out.push_back(bytes);
    else
      out.insert(out.end(), bytes.size(), "\uFFFD");
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = fallback_byte(token)) {
      bytes.push_back(static_cast<char>(*byte));
    } else {
      end_run();
      out.push_back(std::move(token));
    }
  }
  end_run();
  tokens = std::move(out);
}

void FuseDecoder::decode(std::vector<std::string>& tokens) const {
  std::string all;
  for (const std::string& token : tokens) all += token;
  tokens.assign(1, all);
}

void StripDecoder::decode(std::vector<std::string>& tokens) const {
  for (std::string& token : tokens) {
    std::string_view rest = token;
    for (size_t i = 0; i < start_ && rest.starts_with(character_); ++i) rest.remove_prefix(character_.size());
    for (size_t i = 0; i < stop_ && rest.ends_with(character_); ++i) rest.remove_suffix(character_.size());
    token = std::string(rest);
  }
}

void ReplaceDecoder::decode(std::vector<std::string>& tokens) const {
  for (std::string& token : tokens) token = pattern_.replace_all(token, content_);
}

void MetaspaceDecoder::decode(std::vector<std::string>& tokens) const {
  for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], mark_, i == 0 && adds_prefix_ ? "" : " ");
}

void BpeDecoder::decode(std::vector<std::string>& tokens) const {
  if (suffix_.empty()) return;
  for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
}

void CtcDecoder::decode(std::vector<std::string>& tokens) const {
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  for (std::string& token : tokens) {
    if (!pad_token_.empty()) replace_all(token, pad_token_, "");
    if (!cleanup_) continue;
    clean_up_english(token);
    replace_all(token, " do not", " don't");
    if (!word_delimiter_.empty()) replace_all(token, word_delimiter_, " ");
  }
  std::erase(tokens, std::string());
}

}  // namespace lathe::text
