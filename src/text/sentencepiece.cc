#include "text/sentencepiece.h"

#include <algorithm>
#include <cfloat>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "text/bpe.h"
#include "text/byte_level.h"
#include "text/decoders.h"
#include "text/unigram.h"

namespace lathe::text {
namespace {

using Piece = SentencePieceModel::Piece;
using Type = SentencePieceModel::Type;

constexpr std::string_view kReplacement = "\uFFFD";

std::vector<std::string> user_defined(const SentencePieceModel& model) {
  std::vector<std::string> tokens;
  for (const Piece& piece : model.pieces)
    if (piece.type == Type::user_defined) tokens.push_back(piece.token);
  return tokens;
}

std::optional<std::string> unknown_token(const SentencePieceModel& model) {
  const auto found = std::find_if(model.pieces.begin(), model.pieces.end(),
                                  [](const Piece& piece) { return piece.type == Type::unknown; });
  return found == model.pieces.end() ? std::nullopt : std::optional(found->token);
}

Vocabulary vocabulary_of(const SentencePieceModel& model, TokenId first_id) {
  Vocabulary vocabulary;
  TokenId id = first_id;
  for (const Piece& piece : model.pieces) {
    if (vocabulary.id(piece.token)) fail(ErrorCode::invalid_model, "the piece '{}' is there twice", piece.token);
    vocabulary.add(piece.token, id++);
  }
  return vocabulary;
}

// Scores order the merges; pieces of one score merge from left to right.
std::unique_ptr<TokenModel> make_bpe(const SentencePieceModel& model, TokenId first_id) {
  std::map<float, uint32_t, std::greater<>> ranks;
  for (const Piece& piece : model.pieces) {
    if (piece.type == Type::unused) fail(ErrorCode::unsupported, "a BPE model with unused pieces ('{}')", piece.token);
    ranks.emplace(piece.score, 0);
  }
  uint32_t next = 0;
  for (auto& [score, rank] : ranks) rank = next++;
  Vocabulary vocabulary = vocabulary_of(model, first_id);
  const auto merges = merges_by_concatenation(vocabulary, [&](TokenId id) -> std::optional<uint32_t> {
    const Piece& piece = model.pieces[static_cast<size_t>(id - first_id)];
    return piece.type == Type::normal ? std::optional(ranks.at(piece.score)) : std::nullopt;
  });
  BpeOptions options;
  options.byte_fallback = model.byte_fallback;
  options.fuse_unk = true;
  options.unk_token = unknown_token(model);
  options.indivisible = user_defined(model);
  return std::make_unique<Bpe>(std::move(vocabulary), merges, std::move(options));
}

std::unique_ptr<TokenModel> make_unigram(const SentencePieceModel& model, TokenId first_id) {
  Vocabulary vocabulary = vocabulary_of(model, first_id);
  float worst = FLT_MAX,
        best = FLT_MIN;  // of the normal pieces; the latter as sentencepiece, though scores are negative
  for (const Piece& piece : model.pieces) {
    if (piece.type != Type::normal) continue;
    worst = std::min(worst, piece.score);
    best = std::max(best, piece.score);
  }
  std::vector<Unigram::Piece> pieces;
  TokenId id = first_id;
  for (const Piece& piece : model.pieces) {
    const bool own = piece.type == Type::user_defined;
    pieces.push_back({piece.token, id++, own ? best : piece.score, piece.type == Type::normal || own, own});
  }
  UnigramOptions options;
  if (const auto unknown = unknown_token(model)) options.unk_id = vocabulary.id(*unknown);
  options.unk_score = worst - static_cast<float>(Unigram::kUnkPenalty);
  options.byte_fallback = model.byte_fallback;
  options.single_precision = true;
  return std::make_unique<Unigram>(std::move(vocabulary), std::move(pieces), options);
}

}  // namespace

SentencePieceNormalizer::SentencePieceNormalizer(const SentencePieceModel& model)
    : map_(model.charsmap),
      blank_(model.escape_whitespaces ? kSpaceMark : " "),
      dummy_prefix_(model.add_dummy_prefix),
      remove_extra_(model.remove_extra_whitespaces),
      suffix_(model.whitespace_is_suffix) {
  std::vector<ByteTrie::Entry> entries;
  for (std::string& token : user_defined(model)) entries.push_back({std::move(token), 0});
  user_defined_ = ByteTrie(std::move(entries));
}

SentencePieceNormalizer::Step SentencePieceNormalizer::next(std::string_view text) const {
  if (user_defined_.may_start_with(text[0]))
    if (const auto match = user_defined_.longest_prefix(text)) return {text.substr(0, match->length), match->length};
  if (const auto match = map_.longest_prefix(text)) return {match->replacement, match->length};
  size_t length = 0;
  next_code_point(text, length);
  return {text.substr(0, length), length};
}

std::string SentencePieceNormalizer::normalize(std::string_view text) const {
  size_t at = 0;
  while (remove_extra_ && at < text.size()) {
    const Step step = next(text.substr(at));
    if (step.text != " ") break;
    at += step.length;
  }
  std::string out;
  if (at == text.size()) return out;
  out.reserve(text.size() + text.size() / 2);
  if (dummy_prefix_ && !suffix_) out += blank_;
  bool after_blank = remove_extra_;
  while (at < text.size()) {
    auto [step, length] = next(text.substr(at));
    at += length;
    while (after_blank && step.starts_with(' ')) step.remove_prefix(1);
    if (step.empty()) continue;
    for (const char c : step) {
      if (c == ' ')
        out += blank_;
      else
        out += c;
    }
    after_blank = remove_extra_ && step.back() == ' ';
  }
  while (remove_extra_ && out.ends_with(blank_)) out.resize(out.size() - blank_.size());
  if (dummy_prefix_ && suffix_) out += blank_;
  return out;
}

SentencePieceDecoder::SentencePieceDecoder(const SentencePieceModel& model)
    : unknown_(unknown_token(model).value_or("")),
      unk_surface_(model.unk_surface),
      has_bytes_(model.byte_fallback),
      strips_first_(model.add_dummy_prefix || model.remove_extra_whitespaces),
      strips_all_(model.remove_extra_whitespaces) {
  for (const Piece& piece : model.pieces)
    if (piece.type == Type::control) controls_.insert(piece.token);
}

void SentencePieceDecoder::decode(std::vector<std::string>& tokens) const {
  std::string bytes;  // of the pieces "<0xNN>" that came last
  bool at_start = strips_first_;
  bool any_text = false;
  const auto end_bytes = [&](std::string& piece) {
    std::string characters;
    // Not replace_malformed: sentencepiece writes one U+FFFD for each byte.
    if (!bytes.empty()) characters = to_valid_utf8(std::exchange(bytes, ""));
    any_text |= !characters.empty();
    piece.insert(0, characters);
  };
  std::vector<std::string> pieces;
  for (const std::string& token : tokens) {
    const auto byte = has_bytes_ ? fallback_byte(token) : std::nullopt;
    if (byte) {
      bytes.push_back(static_cast<char>(*byte));
      continue;
    }
    end_bytes(pieces.emplace_back());
    at_start &= !any_text;
    std::string piece = controls_.contains(token) ? "" : token == unknown_ ? unk_surface_ : token;
    if (at_start && piece.starts_with(kSpaceMark)) {
      piece.erase(0, kSpaceMark.size());
      at_start = strips_all_;
    }
    replace_all(piece, kSpaceMark, " ");
    any_text |= !piece.empty();
    pieces.back() += piece;
  }
  end_bytes(pieces.emplace_back());
  tokens = std::move(pieces);
}

TokenizerParts sentencepiece_parts(const SentencePieceModel& model, TokenId first_id) {
  TokenizerParts parts;
  parts.normalizer = std::make_unique<SentencePieceNormalizer>(model);
  parts.model =
      model.algorithm == SentencePieceModel::Algorithm::bpe ? make_bpe(model, first_id) : make_unigram(model, first_id);
  parts.decoder = std::make_unique<SentencePieceDecoder>(model);
  return parts;
}

}  // namespace lathe::text
