#include "text/stages_json.h"

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "text/base64.h"
#include "text/bert_text.h"
#include "text/byte_level.h"
#include "text/charsmap.h"
#include "text/decoders.h"
#include "text/json_fields.h"
#include "text/normalizers.h"
#include "text/pre_tokenizers.h"
#include "text/split_lexers.h"
#include "text/unicode.h"
#include "text/unicode_scripts.h"
#include "text/wordpiece.h"

namespace lathe::text {
namespace {

constexpr std::string_view kNormalizer = "normalizer", kPreTokenizer = "pre_tokenizer", kDecoder = "decoder";
constexpr int64_t kMaxFixedLength = 65535;  // of a repetition in a regular expression
constexpr const char* kMetaspaceMark = "\u2581";

std::string type_of(const json& config, std::string_view component) {
  return field<std::string>(config, "type", component);
}

// Sequences may hold sequences; files are untrusted.
constexpr int kMaxDepth = 32;
void check_depth(int depth, std::string_view component) {
  if (depth > kMaxDepth) malformed(component, "sequences are nested too deeply");
}

// {"String": ...} or {"Regex": ...}.
Pattern make_pattern(const json& config, std::string_view component) {
  const json* pattern = find(config, "pattern");
  if (pattern == nullptr) malformed(component, "the field 'pattern' is missing");
  if (pattern->is_string()) return Pattern::literal(pattern->get<std::string>());
  if (const auto literal = optional_field<std::string>(*pattern, "String", component))
    return Pattern::literal(*literal);
  return Pattern::regex(field<std::string>(*pattern, "Regex", component));
}

std::unique_ptr<Normalizer> make_bert_normalizer(const json& config) {
  BertNormalizerOptions options;
  options.clean_text = field<bool>(config, "clean_text", kNormalizer);
  options.handle_chinese_chars = field<bool>(config, "handle_chinese_chars", kNormalizer);
  options.strip_accents = optional_field<bool>(config, "strip_accents", kNormalizer);
  options.lowercase = field<bool>(config, "lowercase", kNormalizer);
  return std::make_unique<BertNormalizer>(options);
}

std::unique_ptr<Normalizer> make_precompiled(const json& config) {
  const auto blob =
      decode_base64(optional_field<std::string>(config, "precompiled_charsmap", kNormalizer).value_or(""));
  if (!blob) malformed(kNormalizer, "the precompiled character map is not base64");
  return std::make_unique<PrecompiledNormalizer>(*blob);
}

std::unique_ptr<Normalizer> make_normalizer(const json& config, int depth) {
  check_depth(depth, kNormalizer);
  const std::string type = type_of(config, kNormalizer);
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Normalizer>> stages;
    for (const json& stage : list_field(config, "normalizers", kNormalizer))
      stages.push_back(make_normalizer(stage, depth + 1));
    return std::make_unique<NormalizerSequence>(std::move(stages));
  }
  if (type == "BertNormalizer") return make_bert_normalizer(config);
  if (type == "Precompiled") return make_precompiled(config);
  if (type == "NFC") return std::make_unique<UnicodeNormalizer>(NormalizationForm::nfc);
  if (type == "NFD") return std::make_unique<UnicodeNormalizer>(NormalizationForm::nfd);
  if (type == "NFKC") return std::make_unique<UnicodeNormalizer>(NormalizationForm::nfkc);
  if (type == "NFKD") return std::make_unique<UnicodeNormalizer>(NormalizationForm::nfkd);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "ByteLevel") return std::make_unique<ByteCharacters>();
  if (type == "Prepend") return std::make_unique<Prepend>(field<std::string>(config, "prepend", kNormalizer));
  if (type == "Strip")
    return std::make_unique<StripSpaces>(field<bool>(config, "strip_left", kNormalizer),
                                         field<bool>(config, "strip_right", kNormalizer));
  if (type == "Replace")
    return std::make_unique<Replace>(make_pattern(config, kNormalizer),
                                     field<std::string>(config, "content", kNormalizer));
  unknown_component(kNormalizer, type);
}

SplitBehavior behavior_of(const json& config) {
  using Name = std::pair<std::string_view, SplitBehavior>;
  static constexpr std::array kNames = {
      Name{"Removed", SplitBehavior::removed}, Name{"Isolated", SplitBehavior::isolated},
      Name{"Contiguous", SplitBehavior::contiguous}, Name{"MergedWithPrevious", SplitBehavior::merged_with_previous},
      Name{"MergedWithNext", SplitBehavior::merged_with_next}};
  const auto behavior = field<std::string>(config, "behavior", kPreTokenizer);
  for (const auto& [name, value] : kNames)
    if (name == behavior) return value;
  malformed(kPreTokenizer, fmt::format("there is no behavior '{}'", behavior));
}

std::unique_ptr<PreTokenizer> make_split(const json& config) {
  const SplitBehavior behavior = behavior_of(config);
  const bool invert = optional_field<bool>(config, "invert", kPreTokenizer).value_or(false);
  const json* pattern = find(config, "pattern");
  const auto regex = pattern != nullptr && pattern->is_object()
                         ? optional_field<std::string>(*pattern, "Regex", kPreTokenizer)
                         : std::nullopt;
  const bool isolates = behavior == SplitBehavior::isolated && !invert;
  const bool keeps = behavior == SplitBehavior::removed && invert;
  if (regex && (isolates || (keeps && matches_everything(*regex))))
    if (auto lexer = split_lexer(*regex)) return lexer;
  return std::make_unique<Split>(make_pattern(config, kPreTokenizer), behavior, invert);
}

std::unique_ptr<PreTokenizer> make_metaspace(const json& config) {
  const auto mark = optional_field<std::string>(config, "replacement", kPreTokenizer).value_or(kMetaspaceMark);
  if (count_code_points(mark) != 1) malformed(kPreTokenizer, "the replacement of a blank is not one character");
  const bool adds = optional_field<bool>(config, "add_prefix_space", kPreTokenizer).value_or(true);
  const auto scheme =
      optional_field<std::string>(config, "prepend_scheme", kPreTokenizer).value_or(adds ? "always" : "never");
  const bool split = optional_field<bool>(config, "split", kPreTokenizer).value_or(true);
  using Prefix = Metaspace::Prefix;
  if (scheme != "always" && scheme != "first" && scheme != "never")
    malformed(kPreTokenizer, fmt::format("there is no prepend_scheme '{}'", scheme));
  const Prefix prefix = scheme == "always" ? Prefix::always : scheme == "first" ? Prefix::first : Prefix::never;
  return std::make_unique<Metaspace>(mark, prefix, split);
}

// A delimiter of CharDelimiterSplit or a class of characters.
std::unique_ptr<PreTokenizer> make_character_split(const json& config, const std::string& type) {
  if (type == "CharDelimiterSplit")
    return std::make_unique<Split>(Pattern::literal(field<std::string>(config, "delimiter", kPreTokenizer)),
                                   SplitBehavior::removed, false);
  if (type == "WhitespaceSplit") return std::make_unique<SplitCharacters>(is_white_space, SplitBehavior::removed);
  if (type == "Digits") {
    const bool individual = optional_field<bool>(config, "individual_digits", kPreTokenizer).value_or(false);
    return std::make_unique<SplitCharacters>(is_number,
                                             individual ? SplitBehavior::isolated : SplitBehavior::contiguous);
  }
  const bool has_behavior = find(config, "behavior") != nullptr;
  return std::make_unique<SplitCharacters>(is_punctuation,
                                           has_behavior ? behavior_of(config) : SplitBehavior::isolated);
}

// Appends the stages that `config` stands for.
void add_pre_tokenizers(const json& config, int depth, std::vector<std::unique_ptr<PreTokenizer>>& stages) {
  check_depth(depth, kPreTokenizer);
  const std::string type = type_of(config, kPreTokenizer);
  if (type == "Sequence") {
    for (const json& stage : list_field(config, "pretokenizers", kPreTokenizer))
      add_pre_tokenizers(stage, depth + 1, stages);
  } else if (type == "ByteLevel") {
    if (optional_field<bool>(config, "add_prefix_space", kPreTokenizer).value_or(true))
      stages.push_back(std::make_unique<AddPrefixSpace>());
    if (optional_field<bool>(config, "use_regex", kPreTokenizer).value_or(true))
      stages.push_back(split_lexer(kGpt2Pattern));
    stages.push_back(std::make_unique<ByteCharacters>());
  } else if (type == "BertPreTokenizer") {
    stages.push_back(std::make_unique<BertPreTokenizer>());
  } else if (type == "Whitespace") {
    stages.push_back(std::make_unique<SplitWords>());
  } else if (type == "Metaspace") {
    stages.push_back(make_metaspace(config));
  } else if (type == "Split") {
    stages.push_back(make_split(config));
  } else if (type == "UnicodeScripts") {
    stages.push_back(
        std::make_unique<Split>(Pattern::regex(one_script_expression()), SplitBehavior::removed, /*invert=*/true));
  } else if (type == "FixedLength") {
    const auto length = optional_field<int64_t>(config, "length", kPreTokenizer).value_or(5);
    if (length < 1 || length > kMaxFixedLength)
      malformed(kPreTokenizer, fmt::format("pieces of {} characters", length));
    stages.push_back(std::make_unique<Split>(Pattern::regex(fmt::format("(?m:.{{1,{}}})", length)),
                                             SplitBehavior::isolated, /*invert=*/false));
  } else if (type == "CharDelimiterSplit" || type == "WhitespaceSplit" || type == "Digits" || type == "Punctuation") {
    stages.push_back(make_character_split(config, type));
  } else {
    unknown_component(kPreTokenizer, type);
  }
}

size_t count_field(const json& config, const char* key) {
  return static_cast<size_t>(optional_field<int64_t>(config, key, kDecoder).value_or(0));
}

std::unique_ptr<Decoder> make_metaspace_decoder(const json& config) {
  const bool adds = optional_field<bool>(config, "add_prefix_space", kDecoder).value_or(true);
  const auto scheme =
      optional_field<std::string>(config, "prepend_scheme", kDecoder).value_or(adds ? "always" : "never");
  auto mark = optional_field<std::string>(config, "replacement", kDecoder).value_or(kMetaspaceMark);
  if (count_code_points(mark) != 1) malformed(kDecoder, "the replacement of a blank is not one character");
  return std::make_unique<MetaspaceDecoder>(std::move(mark), scheme != "never");
}

std::unique_ptr<Decoder> make_decoder(const json& config, int depth) {
  check_depth(depth, kDecoder);
  const std::string type = type_of(config, kDecoder);
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Decoder>> stages;
    for (const json& stage : list_field(config, "decoders", kDecoder)) stages.push_back(make_decoder(stage, depth + 1));
    return std::make_unique<DecoderSequence>(std::move(stages));
  }
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "Metaspace") return make_metaspace_decoder(config);
  if (type == "WordPiece")
    return std::make_unique<WordPieceDecoder>(field<std::string>(config, "prefix", kDecoder),
                                              field<bool>(config, "cleanup", kDecoder));
  if (type == "BPEDecoder")
    return std::make_unique<BpeDecoder>(optional_field<std::string>(config, "suffix", kDecoder).value_or("</w>"));
  if (type == "Replace")
    return std::make_unique<ReplaceDecoder>(make_pattern(config, kDecoder),
                                            field<std::string>(config, "content", kDecoder));
  if (type == "Strip") {
    auto character = field<std::string>(config, "content", kDecoder);
    if (count_code_points(character) != 1) malformed(kDecoder, "what is stripped is not one character");
    return std::make_unique<StripDecoder>(std::move(character), count_field(config, "start"),
                                          count_field(config, "stop"));
  }
  if (type == "CTC")
    return std::make_unique<CtcDecoder>(
        optional_field<std::string>(config, "pad_token", kDecoder).value_or("<pad>"),
        optional_field<std::string>(config, "word_delimiter_token", kDecoder).value_or("|"),
        optional_field<bool>(config, "cleanup", kDecoder).value_or(true));
  unknown_component(kDecoder, type);
}

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const json& config) { return make_normalizer(config, 0); }

PreTokenizerStages make_pre_tokenizer(const json& config) {
  std::vector<std::unique_ptr<PreTokenizer>> stages;
  add_pre_tokenizers(config, 0, stages);
  PreTokenizerStages result;
  result.ends_in_bytes = !stages.empty() && dynamic_cast<const ByteCharacters*>(stages.back().get()) != nullptr;
  if (result.ends_in_bytes) stages.pop_back();
  if (stages.size() == 1)
    result.pre_tokenizer = std::move(stages.front());
  else if (!stages.empty())
    result.pre_tokenizer = std::make_unique<PreTokenizerSequence>(std::move(stages));
  return result;
}

std::unique_ptr<Decoder> make_decoder(const json& config) { return make_decoder(config, 0); }

}  // namespace lathe::text
