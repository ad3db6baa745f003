#include "text/tokenizer_files.h"

#include <array>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/utf8.h"
#include "text/wordpiece.h"

namespace lathe::text {
namespace {

using nlohmann::json;

[[noreturn]] void malformed(std::string_view component, std::string_view what) {
  fail(ErrorCode::invalid_model, "{}: {}", component, what);
}

json parse_json(std::string_view text) {
  json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) fail(ErrorCode::invalid_model, "not a JSON object");
  return document;
}

// A field's value; null counts as absent. The pointer is null when it is absent.
const json* find(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

template <class T>
std::optional<T> convert(const json& value) {
  if constexpr (std::is_same_v<T, bool>) {
    if (value.is_boolean()) return value.get<bool>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (value.is_string()) return value.get<std::string>();
  } else {
    static_assert(std::is_same_v<T, int64_t>);
    // Ids and counts: never negative, and below 2^63 where an unsigned number must be to fit.
    if (value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{INT64_MAX}) return value.get<int64_t>();
  }
  return std::nullopt;
}

template <class T>
std::optional<T> optional_field(const json& object, const char* key, std::string_view component) {
  const json* value = object.is_object() ? find(object, key) : nullptr;
  if (value == nullptr) return std::nullopt;
  auto converted = convert<T>(*value);
  if (!converted) malformed(component, fmt::format("the field '{}' has the wrong type", key));
  return converted;
}

template <class T>
T field(const json& object, const char* key, std::string_view component) {
  auto value = optional_field<T>(object, key, component);
  if (!value) malformed(component, fmt::format("the field '{}' is missing", key));
  return *std::move(value);
}

[[noreturn]] void unknown_component(std::string_view component, std::string_view type) {
  fail(ErrorCode::unsupported, "the tokenizer's {} is of type '{}', which Lathe does not know", component, type);
}

std::unique_ptr<Normalizer> make_normalizer(const json& config) {
  constexpr std::string_view kName = "normalizer";
  const auto type = field<std::string>(config, "type", kName);
  if (type != "BertNormalizer") unknown_component(kName, type);
  BertNormalizerOptions options;
  options.clean_text = field<bool>(config, "clean_text", kName);
  options.handle_chinese_chars = field<bool>(config, "handle_chinese_chars", kName);
  options.strip_accents = optional_field<bool>(config, "strip_accents", kName);
  options.lowercase = field<bool>(config, "lowercase", kName);
  return std::make_unique<BertNormalizer>(options);
}

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const json& config) {
  const auto type = field<std::string>(config, "type", "pre_tokenizer");
  if (type != "BertPreTokenizer") unknown_component("pre_tokenizer", type);
  return std::make_unique<BertPreTokenizer>();
}

std::unique_ptr<Decoder> make_decoder(const json& config) {
  const auto type = field<std::string>(config, "type", "decoder");
  if (type != "WordPiece") unknown_component("decoder", type);
  return std::make_unique<WordPieceDecoder>(field<std::string>(config, "prefix", "decoder"),
                                            field<bool>(config, "cleanup", "decoder"));
}

std::unique_ptr<TokenModel> make_model(const json& config) {
  constexpr std::string_view kName = "model";
  // Old files leave the type out; this field is WordPiece's alone.
  const bool old_wordpiece = find(config, "type") == nullptr && find(config, "max_input_chars_per_word") != nullptr;
  const auto type = old_wordpiece ? "WordPiece" : field<std::string>(config, "type", kName);
  if (type != "WordPiece") unknown_component(kName, type);
  const json* entries = find(config, "vocab");
  if (entries == nullptr || !entries->is_object()) malformed(kName, "the vocabulary is missing");
  Vocabulary vocabulary;
  for (const auto& [token, value] : entries->items()) {
    const auto id = convert<int64_t>(value);
    if (!id) malformed(kName, fmt::format("the token '{}' has no proper id", token));
    vocabulary.add(token, *id);
  }
  WordPieceOptions options;
  options.unk_token = field<std::string>(config, "unk_token", kName);
  options.continuing_subword_prefix = field<std::string>(config, "continuing_subword_prefix", kName);
  options.max_input_chars_per_word = static_cast<size_t>(field<int64_t>(config, "max_input_chars_per_word", kName));
  return std::make_unique<WordPiece>(std::move(vocabulary), options);
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

PostProcessor make_post_processor(const json& config) {
  const auto type = field<std::string>(config, "type", "post_processor");
  if (type == "BertProcessing") return PostProcessor::bert(pair_id(config, "cls"), pair_id(config, "sep"));
  if (type != "TemplateProcessing") unknown_component("post_processor", type);
  return {template_pieces(config, "single"), template_pieces(config, "pair")};
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

std::string_view as_text(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// Runs `read` on the file's text; errors name the file.
template <class Read>
auto read_file(const std::filesystem::path& path, const Read& read) {
  const auto file = MappedFile::open(path);
  try {
    return read(as_text(*file));
  } catch (Error& error) {
    error.in_file(path.string());
    throw;
  }
}

// A settings file beside the tokenizer; an empty object when there is none.
json read_settings(const std::filesystem::path& path) {
  return std::filesystem::exists(path) ? read_file(path, parse_json) : json::object();
}

struct RoleKey {
  const char* key;
  std::optional<TokenId> SpecialTokens::*role;
};

constexpr std::array kRoleKeys = {
    RoleKey{"cls_token", &SpecialTokens::cls},   RoleKey{"sep_token", &SpecialTokens::sep},
    RoleKey{"mask_token", &SpecialTokens::mask}, RoleKey{"pad_token", &SpecialTokens::pad},
    RoleKey{"unk_token", &SpecialTokens::unk},   RoleKey{"bos_token", &SpecialTokens::bos},
    RoleKey{"eos_token", &SpecialTokens::eos}};

std::optional<TokenId> find_token(const TokenizerParts& parts, const std::string& content) {
  for (const AddedToken& token : parts.added_tokens)
    if (token.content == content) return token.id;
  return parts.model->vocabulary().id(content);
}

// Settings name each role's token as a string or as an object with its content.
void read_roles(const json& settings, const TokenizerParts& parts, SpecialTokens& special) {
  for (const auto& [key, role] : kRoleKeys) {
    const json* name = find(settings, key);
    if (name != nullptr && name->is_object()) name = find(*name, "content");
    if (name == nullptr || !name->is_string() || special.*role) continue;
    special.*role = find_token(parts, name->get<std::string>());
  }
}

BertNormalizerOptions bert_options(const json& settings, const LoadOptions& options) {
  constexpr std::string_view kName = "tokenizer_config.json";
  BertNormalizerOptions out;
  out.lowercase = options.lowercase.value_or(optional_field<bool>(settings, "do_lower_case", kName).value_or(true));
  out.strip_accents = optional_field<bool>(settings, "strip_accents", kName);
  out.handle_chinese_chars = optional_field<bool>(settings, "tokenize_chinese_chars", kName).value_or(true);
  return out;
}

std::filesystem::path tokenizer_file(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return path;
  for (const char* name : {"tokenizer.json", "vocab.txt"})
    if (std::filesystem::exists(path / name)) return path / name;
  throw Error(ErrorCode::not_found, "the folder holds neither tokenizer.json nor vocab.txt").in_file(path.string());
}

}  // namespace

TokenizerParts parse_tokenizer_json(std::string_view text) {
  const json document = parse_json(text);
  TokenizerParts parts;
  const json* model = find(document, "model");
  if (model == nullptr || !model->is_object()) fail(ErrorCode::invalid_model, "the tokenizer's model is missing");
  if (const json* config = find(document, "normalizer")) parts.normalizer = make_normalizer(*config);
  if (const json* config = find(document, "pre_tokenizer")) parts.pre_tokenizer = make_pre_tokenizer(*config);
  parts.model = make_model(*model);
  if (const json* config = find(document, "post_processor")) parts.post_processor = make_post_processor(*config);
  if (const json* config = find(document, "decoder")) parts.decoder = make_decoder(*config);
  if (const json* list = find(document, "added_tokens")) parts.added_tokens = make_added_tokens(*list);
  return parts;
}

TokenizerParts parse_vocab_txt(std::string_view lines, const BertNormalizerOptions& options) {
  Vocabulary vocabulary;
  for (TokenId id = 0; !lines.empty(); ++id) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    std::string_view line = lines.substr(0, end);
    while (!line.empty() && std::string_view(" \t\r").find(line.back()) != std::string_view::npos)
      line.remove_suffix(1);
    vocabulary.add(to_valid_utf8(line), id);
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  TokenizerParts parts;
  for (const char* name : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
    if (const auto id = vocabulary.id(name)) {
      AddedToken& token = parts.added_tokens.emplace_back();
      token.id = *id;
      token.content = name;
      token.special = true;
    }
  const auto cls = vocabulary.id("[CLS]"), sep = vocabulary.id("[SEP]");
  if (!cls || !sep) fail(ErrorCode::invalid_model, "a BERT vocabulary needs the tokens [CLS] and [SEP]");
  const WordPieceOptions wordpiece;
  parts.normalizer = std::make_unique<BertNormalizer>(options);
  parts.pre_tokenizer = std::make_unique<BertPreTokenizer>();
  parts.model = std::make_unique<WordPiece>(std::move(vocabulary), wordpiece);
  parts.decoder = std::make_unique<WordPieceDecoder>(wordpiece.continuing_subword_prefix, /*cleanup=*/true);
  parts.post_processor = PostProcessor::bert(*cls, *sep);
  return parts;
}

std::unique_ptr<Tokenizer> Tokenizer::load(const std::filesystem::path& path, const LoadOptions& options) {
  const std::filesystem::path file = tokenizer_file(path);
  const bool bare_vocabulary = file.extension() == ".txt";
  if (options.lowercase && !bare_vocabulary)
    throw Error(ErrorCode::invalid_argument,
                "lower-casing can be chosen for a bare vocab.txt only; this file decides it")
        .in_file(file.string());
  const json settings = read_settings(file.parent_path() / "tokenizer_config.json");
  TokenizerParts parts = read_file(file, [&](std::string_view text) {
    return bare_vocabulary ? parse_vocab_txt(text, bert_options(settings, options)) : parse_tokenizer_json(text);
  });
  SpecialTokens special;
  read_roles(settings, parts, special);
  read_roles(read_settings(file.parent_path() / "special_tokens_map.json"), parts, special);
  return std::make_unique<Tokenizer>(std::move(parts), special);
}

}  // namespace lathe::text
