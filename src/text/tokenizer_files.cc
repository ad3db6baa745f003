#include "text/tokenizer_files.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/utf8.h"
#include "text/chatglm.h"
#include "text/json_fields.h"
#include "text/normalizers.h"
#include "text/rank_files.h"
#include "text/sentencepiece_families.h"
#include "text/split_lexers.h"
#include "text/tokenizer_settings.h"
#include "text/wordpiece.h"

namespace lathe::text {
namespace {

using std::filesystem::path;

// Runs `read` on the file's text; errors name the file.
template <class Read>
auto read_file(const path& file_path, const Read& read) {
  const auto file = MappedFile::open(file_path);
  try {
    return read(file->text());
  } catch (Error& error) {
    error.in_file(file_path.string());
    throw;
  }
}

// A settings file beside the tokenizer; an empty object when there is none.
json read_settings(const path& file_path) {
  return std::filesystem::exists(file_path) ? read_file(file_path, parse_object) : json::object();
}

BertNormalizerOptions bert_options(const json& settings, const LoadOptions& options) {
  BertNormalizerOptions out;
  out.lowercase =
      options.lowercase.value_or(optional_field<bool>(settings, "do_lower_case", kSettingsFile).value_or(true));
  out.strip_accents = optional_field<bool>(settings, "strip_accents", kSettingsFile);
  out.handle_chinese_chars = optional_field<bool>(settings, "tokenize_chinese_chars", kSettingsFile).value_or(true);
  return out;
}

// The kinds of files, by name; the first that a folder has counts.
enum class Format { json, vocab_txt, sentencepiece, vocab_and_merges, tiktoken };
struct KnownFile {
  const char* name;
  Format format;
};
constexpr std::array kKnownFiles = {
    KnownFile{"tokenizer.json", Format::json},           KnownFile{"vocab.txt", Format::vocab_txt},
    KnownFile{"tokenizer.model", Format::sentencepiece}, KnownFile{"ice_text.model", Format::sentencepiece},
    KnownFile{"spiece.model", Format::sentencepiece},    KnownFile{"sentencepiece.bpe.model", Format::sentencepiece},
    KnownFile{"spm.model", Format::sentencepiece},       KnownFile{"vocab.json", Format::vocab_and_merges},
    KnownFile{"qwen.tiktoken", Format::tiktoken}};

path tokenizer_file(const path& place) {
  if (!std::filesystem::is_directory(place)) return place;
  std::string names;
  for (const KnownFile& file : kKnownFiles) {
    if (std::filesystem::exists(place / file.name)) return place / file.name;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", file.name);
  }
  throw Error(ErrorCode::not_found, fmt::format("the folder holds none of {}", names)).in_file(place.string());
}

Format format_of(const path& file) {
  for (const KnownFile& known : kKnownFiles)
    if (file.filename() == known.name) return known.format;
  const std::string extension = file.extension().string();
  if (extension == ".txt") return Format::vocab_txt;
  if (extension == ".model") return Format::sentencepiece;
  return extension == ".tiktoken" ? Format::tiktoken : Format::json;
}

constexpr const char* kEndOfText = "<|endoftext|>";  // special to all tokenizers that descend from GPT-2's

TokenizerParts read_vocab_and_merges(const path& file, const std::string& tokenizer_class) {
  const bool qwen = tokenizer_class.starts_with("Qwen2");
  TokenizerParts parts = read_file(file.parent_path() / "merges.txt", [&](std::string_view merges) {
    return read_file(file, [&](std::string_view vocab) {
      return parse_vocab_and_merges(vocab, merges, qwen ? kQwen2Pattern : kGpt2Pattern);
    });
  });
  if (qwen) parts.normalizer = std::make_unique<UnicodeNormalizer>(NormalizationForm::nfc);
  const Vocabulary& vocabulary = parts.model->vocabulary();
  if (const auto end = vocabulary.id(kEndOfText)) {
    AddedToken& token = parts.added_tokens.emplace_back();
    token.id = *end;
    token.content = kEndOfText;
    token.special = true;
  }
  if (tokenizer_class.starts_with("Roberta")) {
    const auto cls = vocabulary.id("<s>"), sep = vocabulary.id("</s>");
    if (!cls || !sep)
      throw Error(ErrorCode::invalid_model, "a RoBERTa vocabulary needs <s> and </s>").in_file(file.string());
    parts.post_processor = PostProcessor::roberta(*cls, *sep);
  }
  return parts;
}

// GLM-4's tokens are tiktoken's, with the special ones listed in the settings.
void add_glm4_start(TokenizerParts& parts) {
  const auto gmask = find_token(parts, "[gMASK]"), sop = find_token(parts, "<sop>"),
             end = find_token(parts, kEndOfText);
  if (!gmask || !sop || !end)
    fail(ErrorCode::invalid_model, "GLM-4 needs [gMASK], <sop> and {} among its tokens", kEndOfText);
  parts.post_processor = chatglm_start(*gmask, *sop, *end);
}

// Qwen's special tokens follow the vocabulary and stand in no file. Source: QwenLM/Qwen, tokenization_qwen.py.
TokenizerParts qwen_parts(TokenizerParts parts) {
  std::vector<std::string> names = {kEndOfText, "<|im_start|>", "<|im_end|>"};
  constexpr int kExtras = 205;
  for (int i = 0; i < kExtras; ++i) names.push_back(fmt::format("<|extra_{}|>", i));
  auto id = static_cast<TokenId>(parts.model->vocabulary().size());
  for (std::string& name : names) {
    AddedToken& token = parts.added_tokens.emplace_back();
    token.id = id++;
    token.content = std::move(name);
    token.special = true;
  }
  parts.normalizer = std::make_unique<UnicodeNormalizer>(NormalizationForm::nfc);
  return parts;
}

TokenizerParts read_parts(const path& file, Format format, const json& settings, const LoadOptions& options) {
  const std::string tokenizer_class = class_of(settings);
  if (format == Format::vocab_and_merges) return read_vocab_and_merges(file, tokenizer_class);
  return read_file(file, [&](std::string_view text) {
    switch (format) {
      case Format::vocab_txt: return parse_vocab_txt(text, bert_options(settings, options));
      case Format::tiktoken: return qwen_parts(parse_tiktoken(text, kQwen2Pattern));
      case Format::sentencepiece:
        if (is_tiktoken(text)) return parse_tiktoken(text, kCl100kPattern);
        return parse_sentencepiece_family(std::as_bytes(std::span(text)), file.filename().string(), settings);
      default: return parse_tokenizer_json(text);
    }
  });
}

}  // namespace

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

std::unique_ptr<Tokenizer> Tokenizer::load(const path& place, const LoadOptions& options) {
  const path file = tokenizer_file(place);
  const Format format = format_of(file);
  if (options.lowercase && format != Format::vocab_txt)
    throw Error(ErrorCode::invalid_argument,
                "lower-casing can be chosen for a bare vocab.txt only; this file decides it")
        .in_file(file.string());
  const path settings_file = file.parent_path() / kSettingsFile;
  const json settings = read_settings(settings_file);
  const json roles = read_settings(file.parent_path() / "special_tokens_map.json");
  TokenizerParts parts = read_parts(file, format, settings, options);
  SpecialTokens special;
  try {
    apply_settings(settings, format == Format::json, parts);
    if (format != Format::json && format != Format::vocab_txt)
      add_role_tokens(
          settings, format == Format::sentencepiece ? MissingTokens::are_left_out : MissingTokens::get_new_ids, parts);
    if (class_of(settings) == "ChatGLM4Tokenizer" && format != Format::json) add_glm4_start(parts);
    read_roles(settings, parts, special);
    read_roles(roles, parts, special);
  } catch (Error& error) {
    error.in_file(settings_file.string());
    throw;
  }
  return std::make_unique<Tokenizer>(std::move(parts), special);
}

}  // namespace lathe::text
