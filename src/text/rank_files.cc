#include "text/rank_files.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "text/base64.h"
#include "text/bpe.h"
#include "text/byte_level.h"
#include "text/json_fields.h"
#include "text/pre_tokenizers.h"
#include "text/split_lexers.h"

namespace lathe::text {
namespace {

// Cuts the first line off `text`, without its end.
std::string_view take_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

struct RankedBytes {
  std::string bytes;
  TokenId rank;
};

std::optional<RankedBytes> parse_rank_line(std::string_view line) {
  const size_t blank = line.find(' ');
  if (blank == std::string_view::npos || blank == 0) return std::nullopt;
  auto bytes = decode_base64(line.substr(0, blank));
  const std::string_view digits = line.substr(blank + 1);
  int32_t rank = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rank);
  const bool proper = error == std::errc() && end == digits.data() + digits.size() && rank >= 0;
  if (!bytes || bytes->empty() || !proper) return std::nullopt;
  return RankedBytes{*std::move(bytes), rank};
}

TokenizerParts byte_level_parts(Vocabulary vocabulary, std::span<const Merge> merges, bool ignore_merges,
                                std::string_view pattern) {
  BpeOptions options;
  options.byte_level = true;
  options.ignore_merges = ignore_merges;
  TokenizerParts parts;
  parts.model = std::make_unique<Bpe>(std::move(vocabulary), merges, std::move(options));
  parts.pre_tokenizer = split_lexer(pattern);
  if (parts.pre_tokenizer == nullptr)
    parts.pre_tokenizer = std::make_unique<Split>(Pattern::regex(pattern), SplitBehavior::isolated, false);
  parts.decoder = std::make_unique<ByteLevelDecoder>();
  return parts;
}

}  // namespace

TokenizerParts parse_vocab_and_merges(std::string_view vocab_json, std::string_view merges_txt,
                                      std::string_view pattern) {
  Vocabulary vocabulary;
  const json document = parse_object(vocab_json);
  for (const auto& [token, value] : document.items()) {
    const auto id = convert<int64_t>(value);
    if (!id) malformed("vocab.json", fmt::format("the token '{}' has no proper id", token));
    vocabulary.add(token, *id);
  }
  std::vector<std::pair<std::string, std::string>> merges;
  while (!merges_txt.empty()) {
    const std::string_view line = take_line(merges_txt);
    if (line.empty() || line.starts_with("#version")) continue;
    const size_t blank = line.find(' ');
    if (blank == std::string_view::npos) malformed("merges.txt", fmt::format("the line '{}' is not two tokens", line));
    merges.emplace_back(line.substr(0, blank), line.substr(blank + 1));
  }
  const auto ranked = ranked_merges(vocabulary, merges);
  return byte_level_parts(std::move(vocabulary), ranked, /*ignore_merges=*/false, pattern);
}

TokenizerParts parse_tiktoken(std::string_view lines, std::string_view pattern) {
  Vocabulary vocabulary;
  while (!lines.empty()) {
    const std::string_view line = take_line(lines);
    if (line.empty()) continue;
    const auto entry = parse_rank_line(line);
    if (!entry) fail(ErrorCode::invalid_model, "the line '{}' is not a token and its rank", to_valid_utf8(line));
    vocabulary.add(to_byte_characters(entry->bytes), entry->rank);
  }
  const auto merges =
      merges_by_concatenation(vocabulary, [](TokenId id) { return std::optional(static_cast<uint32_t>(id)); });
  return byte_level_parts(std::move(vocabulary), merges, /*ignore_merges=*/true, pattern);
}

bool is_tiktoken(std::string_view file) {
  constexpr size_t kLongestLine = 4096;  // of the first token
  file = file.substr(0, std::min(file.size(), kLongestLine));
  return parse_rank_line(take_line(file)).has_value();
}

}  // namespace lathe::text
