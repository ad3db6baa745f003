#include "text/tokenizer.h"

#include <array>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "text/decoders.h"

namespace lathe::text {
namespace {

struct ConventionalNames {
  std::optional<TokenId> SpecialTokens::*role;
  std::array<std::string_view, 2> names;
};

constexpr std::array kConventionalNames = {ConventionalNames{&SpecialTokens::cls, {"[CLS]", "<s>"}},
                                           ConventionalNames{&SpecialTokens::sep, {"[SEP]", "</s>"}},
                                           ConventionalNames{&SpecialTokens::mask, {"[MASK]", "<mask>"}},
                                           ConventionalNames{&SpecialTokens::pad, {"[PAD]", "<pad>"}},
                                           ConventionalNames{&SpecialTokens::unk, {"[UNK]", "<unk>"}},
                                           ConventionalNames{&SpecialTokens::bos, {"<s>", "<|endoftext|>"}},
                                           ConventionalNames{&SpecialTokens::eos, {"</s>", "<|endoftext|>"}}};

}  // namespace

Tokenizer::Tokenizer(TokenizerParts parts, SpecialTokens special)
    : parts_(std::move(parts)), added_(std::move(parts_.added_tokens), parts_.normalizer.get()), special_(special) {
  LATHE_CHECK(parts_.model != nullptr);
  for (const auto& [role, names] : kConventionalNames)
    for (const std::string_view name : names)
      if (!(special_.*role)) special_.*role = token_to_id(name);
  vocab_size_ = parts_.model->vocabulary().size();
  added_.vocabulary().for_each([this](std::string_view token, TokenId) {
    if (!parts_.model->vocabulary().id(token)) ++vocab_size_;
  });
}

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return parts_.post_processor.assemble(encode_text(text, options.plain), std::nullopt, options.add_special_tokens,
                                        options.max_length);
}

Encoding Tokenizer::encode_pair(std::string_view first, std::string_view second, const EncodeOptions& options) const {
  return parts_.post_processor.assemble(encode_text(first, {}), encode_text(second, {}), options.add_special_tokens,
                                        options.max_length);
}

std::vector<TokenId> Tokenizer::encode_text(std::string_view text, std::span<const ByteRange> plain) const {
  const std::string repaired = is_valid_utf8(text) ? std::string() : to_valid_utf8(text);
  const std::string_view valid = repaired.empty() ? text : std::string_view(repaired);
  std::vector<TokenId> ids;
  ids.reserve(valid.size() / 3);
  Words words;
  for (const auto& raw : plain.empty() ? added_.split_raw(valid) : added_.split_raw(valid, plain)) {
    if (raw.id) {
      ids.push_back(*raw.id);
      continue;
    }
    const std::string normalized = parts_.normalizer ? parts_.normalizer->normalize(raw.text) : std::string();
    const std::string_view whole = parts_.normalizer ? std::string_view(normalized) : raw.text;
    for (const auto& segment :
         plain.empty() ? added_.split_normalized(whole) : added_.split_normalized_without_special(whole)) {
      if (segment.id) {
        ids.push_back(*segment.id);
        continue;
      }
      words.assign(segment.text, raw.text.data() == valid.data() && segment.text.data() == whole.data());
      if (parts_.pre_tokenizer) parts_.pre_tokenizer->split(words);
      parts_.model->tokenize_all(words, ids);
    }
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  std::string text = decode_plain(ids, skip_special_tokens);
  if (parts_.clean_up_spaces) clean_up_english(text);
  return text;
}

std::string Tokenizer::decode_plain(std::span<const TokenId> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const TokenId id : ids) {
    const auto token = id_to_token(id);
    if (token && !(skip_special_tokens && added_.is_special(id))) tokens.emplace_back(*token);
  }
  if (parts_.decoder && !tokens.empty()) parts_.decoder->decode(tokens);
  std::string text;
  for (const std::string& token : tokens) {
    if (!parts_.decoder && !text.empty()) text += ' ';
    text += token;
  }
  return text;
}

std::optional<TokenId> Tokenizer::token_to_id(std::string_view token) const {
  const auto added = added_.vocabulary().id(token);
  return added ? added : parts_.model->vocabulary().id(token);
}

std::optional<std::string_view> Tokenizer::id_to_token(TokenId id) const {
  const auto added = added_.vocabulary().token(id);
  return added ? added : parts_.model->vocabulary().token(id);
}

}  // namespace lathe::text
