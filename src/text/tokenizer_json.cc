// Reads tokenizer.json, Hugging Face's format: the models, the post-processor and the added tokens; stages_json.h reads
// the other stages.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "base/error.h"
#include "text/bpe.h"
#include "text/byte_level.h"
#include "text/json_fields.h"
#include "text/pre_tokenizers.h"
#include "text/stages_json.h"
#include "text/tokenizer_files.h"
#include "text/unigram.h"
#include "text/word_level.h"
#include "text/wordpiece.h"

namespace lathe::text {
namespace {

constexpr std::string_view kModel = "model";

Vocabulary make_vocabulary(const json& config) {
  const json* entries = find(config, "vocab");
  if (entries == nullptr || !entries->is_object()) malformed(kModel, "the vocabulary is missing");
  Vocabulary vocabulary;
  for (const auto& [token, value] : entries->items()) {
    const auto id = convert<int64_t>(value);
    if (!id) malformed(kModel, fmt::format("the token '{}' has no proper id", token));
    vocabulary.add(token, *id);
  }
  return vocabulary;
}

std::unique_ptr<TokenModel> make_wordpiece(const json& config) {
  WordPieceOptions options;
  options.unk_token = field<std::string>(config, "unk_token", kModel);
  options.continuing_subword_prefix = field<std::string>(config, "continuing_subword_prefix", kModel);
  options.max_input_chars_per_word = static_cast<size_t>(field<int64_t>(config, "max_input_chars_per_word", kModel));
  return std::make_unique<WordPiece>(make_vocabulary(config), options);
}

// A merge is a list of two tokens or, in older files, a line with a blank between them.
std::pair<std::string, std::string> merge_tokens(const json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  if (!merge.is_string()) malformed(kModel, "a merge is neither two tokens nor a line");
  const auto line = merge.get<std::string>();
  const size_t blank = line.find(' ');
  if (blank == std::string::npos || line.find(' ', blank + 1) != std::string::npos)
    malformed(kModel, fmt::format("the merge '{}' is not two tokens", line));
  return {line.substr(0, blank), line.substr(blank + 1)};
}

std::unique_ptr<TokenModel> make_bpe(const json& config, bool byte_level) {
  Vocabulary vocabulary = make_vocabulary(config);
  BpeOptions options;
  options.byte_level = byte_level;
  options.byte_fallback = optional_field<bool>(config, "byte_fallback", kModel).value_or(false);
  options.fuse_unk = optional_field<bool>(config, "fuse_unk", kModel).value_or(false);
  options.ignore_merges = optional_field<bool>(config, "ignore_merges", kModel).value_or(false);
  options.continuing_subword_prefix =
      optional_field<std::string>(config, "continuing_subword_prefix", kModel).value_or("");
  options.end_of_word_suffix = optional_field<std::string>(config, "end_of_word_suffix", kModel).value_or("");
  options.unk_token = optional_field<std::string>(config, "unk_token", kModel);
  // Files name one that is not there where nothing is ever unknown.
  if (options.unk_token && (byte_level || options.unk_token->empty()) && !vocabulary.id(*options.unk_token))
    options.unk_token.reset();
  std::vector<std::pair<std::string, std::string>> merges;
  for (const json& merge : list_field(config, "merges", kModel)) merges.push_back(merge_tokens(merge));
  const auto ranked = ranked_merges(vocabulary, merges, options.continuing_subword_prefix);
  return std::make_unique<Bpe>(std::move(vocabulary), ranked, std::move(options));
}

// A score as the reader that the reference uses (Rust's serde_json) gets it, which may be off by the last bit: where
// two cuts of a word have the same score, that bit decides. It takes the decimal digits as an integer, which is
// rounded, and divides that by a power of ten. Files have the shortest digits that name the number.
double score_as_read(double score) {
  std::array<char, 32> buffer{};
  const auto written =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), score, std::chars_format::scientific);
  const std::string text(buffer.data(), written.ptr);  // [-]d[.ddd]e[+-]dd
  const size_t mark = text.find('e');
  int exponent = std::atoi(text.c_str() + mark + 1);
  uint64_t digits = 0;
  bool fraction = false;
  for (const char c : text.substr(0, mark)) {
    if (c >= '0' && c <= '9') digits = 10 * digits + static_cast<uint64_t>(c - '0');
    if (c >= '0' && c <= '9' && fraction) --exponent;
    fraction |= c == '.';
  }
  constexpr int kExact = 22;  // powers of ten up to this are doubles
  if (exponent >= 0 || exponent < -kExact) return score;
  double power = 1;
  for (int i = 0; i < -exponent; ++i) power *= 10;
  return std::copysign(static_cast<double>(digits) / power, score);
}

std::unique_ptr<TokenModel> make_unigram(const json& config) {
  Vocabulary vocabulary;
  std::vector<Unigram::Piece> pieces;
  double worst = 0;
  for (const json& entry : list_field(config, "vocab", kModel)) {
    const bool proper = entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number();
    if (!proper) malformed(kModel, "an entry of the vocabulary is not a token and its score");
    const auto id = static_cast<TokenId>(pieces.size());
    pieces.push_back({entry[0].get<std::string>(), id, score_as_read(entry[1].get<double>())});
    worst = pieces.size() == 1 ? pieces.back().score : std::min(worst, pieces.back().score);
    vocabulary.add(pieces.back().token, id);
  }
  UnigramOptions options;
  options.unk_id = optional_field<int64_t>(config, "unk_id", kModel);
  if (options.unk_id && *options.unk_id >= static_cast<TokenId>(pieces.size()))
    malformed(kModel, "the unknown token is not in the vocabulary");
  options.unk_score = worst - Unigram::kUnkPenalty;
  options.byte_fallback = optional_field<bool>(config, "byte_fallback", kModel).value_or(false);
  return std::make_unique<Unigram>(std::move(vocabulary), std::move(pieces), options);
}

// Old files leave the type out; these fields tell.
std::string model_type(const json& config) {
  if (const auto type = optional_field<std::string>(config, "type", kModel)) return *type;
  if (find(config, "max_input_chars_per_word") != nullptr) return "WordPiece";
  if (find(config, "merges") != nullptr) return "BPE";
  const json* vocab = find(config, "vocab");
  if (vocab != nullptr && vocab->is_array()) return "Unigram";
  malformed(kModel, "the field 'type' is missing");
}

std::unique_ptr<TokenModel> make_model(const json& config, bool byte_level) {
  const std::string type = model_type(config);
  if (type == "WordPiece") return make_wordpiece(config);
  if (type == "BPE") return make_bpe(config, byte_level);
  if (type == "Unigram") return make_unigram(config);
  if (type == "WordLevel")
    return std::make_unique<WordLevel>(make_vocabulary(config), field<std::string>(config, "unk_token", kModel));
  unknown_component(kModel, type);
}

std::vector<TokenId> template_ids(const json& special_tokens, const std::string& name, std::string_view component) {
  const json* entry = special_tokens.is_object() ? find(special_tokens, name.c_str()) : nullptr;
  const json* ids = entry != nullptr && entry->is_object() ? find(*entry, "ids") : nullptr;
  if (ids == nullptr || !ids->is_array()) malformed(component, fmt::format("the ids of '{}' are missing", name));
  std::vector<TokenId> out;
  for (const json& value : *ids) {
    const auto id = convert<int64_t>(value);
    if (!id) malformed(component, fmt::format("'{}' has an improper id", name));
    out.push_back(*id);
  }
  return out;
}

std::vector<PostProcessor::Piece> template_pieces(const json& config, const char* key) {
  constexpr std::string_view kName = "post_processor";
  using Kind = PostProcessor::Piece::Kind;
  const json* list = find(config, key);
  if (list == nullptr || !list->is_array()) malformed(kName, fmt::format("the template '{}' is missing", key));
  const json* special_tokens = find(config, "special_tokens");
  std::vector<PostProcessor::Piece> pieces;
  for (const json& entry : *list) {
    const json* sequence = entry.is_object() ? find(entry, "Sequence") : nullptr;
    const json* special = entry.is_object() ? find(entry, "SpecialToken") : nullptr;
    if ((sequence == nullptr) == (special == nullptr))
      malformed(kName, fmt::format("the template '{}' holds something else than sequences and special tokens", key));
    const json& item = sequence != nullptr ? *sequence : *special;
    const auto id = field<std::string>(item, "id", kName);
    PostProcessor::Piece& piece = pieces.emplace_back();
    piece.type_id = field<int64_t>(item, "type_id", kName);
    if (special != nullptr)
      piece.ids = template_ids(special_tokens != nullptr ? *special_tokens : json(), id, kName);
    else if (id == "A" || id == "B")
      piece.kind = id == "A" ? Kind::first : Kind::second;
    else
      malformed(kName, fmt::format("the template '{}' names a sequence '{}'", key, id));
  }
  return pieces;
}

// A [token, id] pair of BertProcessing.
TokenId pair_id(const json& config, const char* key) {
  const json* pair = find(config, key);
  const auto id =
      pair != nullptr && pair->is_array() && pair->size() == 2 ? convert<int64_t>((*pair)[1]) : std::nullopt;
  if (!id) malformed("post_processor", fmt::format("'{}' is no pair of a token and its id", key));
  return *id;
}

// Nothing for a post-processor that adds no tokens.
std::optional<PostProcessor> make_post_processor(const json& config) {
  constexpr std::string_view kName = "post_processor";
  const auto type = field<std::string>(config, "type", kName);
  if (type == "ByteLevel") return std::nullopt;
  if (type == "BertProcessing") return PostProcessor::bert(pair_id(config, "cls"), pair_id(config, "sep"));
  if (type == "RobertaProcessing") return PostProcessor::roberta(pair_id(config, "cls"), pair_id(config, "sep"));
  if (type == "TemplateProcessing")
    return PostProcessor(template_pieces(config, "single"), template_pieces(config, "pair"));
  if (type != "Sequence") unknown_component(kName, type);
  std::optional<PostProcessor> only;
  for (const json& stage : list_field(config, "processors", kName)) {
    if (optional_field<std::string>(stage, "type", kName) == "Sequence")
      fail(ErrorCode::unsupported, "the tokenizer's post_processor has a Sequence within a Sequence");
    auto processor = make_post_processor(stage);
    if (processor && only)
      fail(ErrorCode::unsupported, "the tokenizer's post_processor has two stages that add tokens");
    if (processor) only = std::move(processor);
  }
  return only;
}

std::vector<AddedToken> make_added_tokens(const json& list) {
  constexpr std::string_view kName = "added_tokens";
  if (!list.is_array()) malformed(kName, "not a list");
  std::vector<AddedToken> tokens;
  for (const json& entry : list) {
    AddedToken& token = tokens.emplace_back();
    token.id = field<int64_t>(entry, "id", kName);
    token.content = field<std::string>(entry, "content", kName);
    token.single_word = field<bool>(entry, "single_word", kName);
    token.lstrip = field<bool>(entry, "lstrip", kName);
    token.rstrip = field<bool>(entry, "rstrip", kName);
    token.normalized = field<bool>(entry, "normalized", kName);
    token.special = field<bool>(entry, "special", kName);
  }
  return tokens;
}

// BPE takes bytes as they are; for other models they become characters.
void join(PreTokenizerStages stages, bool model_takes_bytes, TokenizerParts& parts) {
  if (!stages.ends_in_bytes || model_takes_bytes) {
    parts.pre_tokenizer = std::move(stages.pre_tokenizer);
    return;
  }
  std::vector<std::unique_ptr<PreTokenizer>> list;
  if (stages.pre_tokenizer != nullptr) list.push_back(std::move(stages.pre_tokenizer));
  list.push_back(std::make_unique<ByteCharacters>());
  parts.pre_tokenizer = std::make_unique<PreTokenizerSequence>(std::move(list));
}

}  // namespace

TokenizerParts parse_tokenizer_json(std::string_view text) {
  const json document = parse_object(text);
  TokenizerParts parts;
  const json* model = find(document, "model");
  if (model == nullptr || !model->is_object()) fail(ErrorCode::invalid_model, "the tokenizer's model is missing");
  if (const json* config = find(document, "normalizer")) parts.normalizer = make_normalizer(*config);
  PreTokenizerStages stages;
  if (const json* config = find(document, "pre_tokenizer")) stages = make_pre_tokenizer(*config);
  // Bytes that fall back do so as the characters that stand for them.
  const bool falls_back = optional_field<bool>(*model, "byte_fallback", kModel).value_or(false);
  const bool bytes = stages.ends_in_bytes && model_type(*model) == "BPE" && !falls_back;
  parts.model = make_model(*model, bytes);
  join(std::move(stages), bytes, parts);
  if (const json* config = find(document, "post_processor"))
    if (auto processor = make_post_processor(*config)) parts.post_processor = *std::move(processor);
  if (const json* config = find(document, "decoder")) parts.decoder = make_decoder(*config);
  if (const json* list = find(document, "added_tokens")) parts.added_tokens = make_added_tokens(*list);
  return parts;
}

}  // namespace lathe::text
