#include "text/sentencepiece_families.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "text/chatglm.h"
#include "text/decoders.h"
#include "text/json_fields.h"
#include "text/pre_tokenizers.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_settings.h"

namespace lathe::text {
namespace {

using Type = SentencePieceModel::Type;

void add_special(TokenizerParts& parts, std::string content, TokenId id) {
  AddedToken& token = parts.added_tokens.emplace_back();
  token.id = id;
  token.content = std::move(content);
  token.special = true;
}

// The token that the settings name, or the usual one, becomes a special token where the model has it.
std::vector<TokenId> special_token(TokenizerParts& parts, const json& settings, const char* key, const char* usual) {
  const std::string content = token_of(settings, key).value_or(usual);
  const auto id = parts.model->vocabulary().id(content);
  if (!id) return {};
  add_special(parts, content, *id);
  return {*id};
}

// Pieces to text where special tokens keep their names, as the tokenizer.json of these models has it.
std::unique_ptr<Decoder> llama_decoder(bool strips_first) {
  std::vector<std::unique_ptr<Decoder>> stages;
  stages.push_back(std::make_unique<ReplaceDecoder>(Pattern::literal(std::string(kSpaceMark)), " "));
  stages.push_back(std::make_unique<ByteFallbackDecoder>());
  stages.push_back(std::make_unique<FuseDecoder>());
  stages.push_back(std::make_unique<StripDecoder>(" ", strips_first ? 1 : 0, 0));
  return std::make_unique<DecoderSequence>(std::move(stages));
}

bool flag(const json& settings, const char* key, bool usual) {
  return optional_field<bool>(settings, key, kSettingsFile).value_or(usual);
}

TokenizerParts llama_parts(SentencePieceModel model, const json& settings) {
  const bool dummy_prefix =
      std::exchange(model.add_dummy_prefix, model.add_dummy_prefix && flag(settings, "legacy", true));
  TokenizerParts parts = sentencepiece_parts(model);
  if (dummy_prefix && !model.add_dummy_prefix)  // not `legacy`: behind a special token words keep no blank before them
    parts.pre_tokenizer = std::make_unique<Metaspace>(std::string(kSpaceMark), Metaspace::Prefix::first, false);
  parts.decoder = llama_decoder(dummy_prefix);
  auto bos = special_token(parts, settings, "bos_token", "<s>");
  auto eos = special_token(parts, settings, "eos_token", "</s>");
  special_token(parts, settings, "unk_token", "<unk>");
  if (!flag(settings, "add_bos_token", true)) bos.clear();
  if (!flag(settings, "add_eos_token", false)) eos.clear();
  parts.post_processor = PostProcessor::around_each(bos, eos);
  return parts;
}

TokenizerParts t5_parts(const SentencePieceModel& model, const json& settings) {
  TokenizerParts parts = sentencepiece_parts(model);
  parts.decoder = std::make_unique<MetaspaceDecoder>(std::string(kSpaceMark), model.add_dummy_prefix);
  const auto eos = special_token(parts, settings, "eos_token", "</s>");
  special_token(parts, settings, "unk_token", "<unk>");
  special_token(parts, settings, "pad_token", "<pad>");
  constexpr int64_t kUsualExtras = 100, kMostExtras = 100'000;
  const int64_t extras = optional_field<int64_t>(settings, "extra_ids", kSettingsFile).value_or(kUsualExtras);
  if (extras > kMostExtras) malformed(kSettingsFile, fmt::format("{} are too many extra_ids", extras));
  const auto pieces = static_cast<int64_t>(model.pieces.size());
  for (int64_t i = 0; i < extras; ++i) add_special(parts, fmt::format("<extra_id_{}>", i), pieces + extras - 1 - i);
  parts.post_processor = PostProcessor::around_each({}, eos);
  return parts;
}

// fairseq's order of ids: four special tokens of its own, then the pieces behind sentencepiece's three, then <mask>.
TokenizerParts xlm_roberta_parts(SentencePieceModel model) {
  constexpr size_t kOwn = 3;
  if (model.pieces.size() < kOwn) malformed("sentencepiece", "the model has no pieces");
  std::vector<SentencePieceModel::Piece> pieces = {
      {"<s>", 0, Type::control}, {"<pad>", 0, Type::control}, {"</s>", 0, Type::control}, {"<unk>", 0, Type::unknown}};
  pieces.insert(pieces.end(), model.pieces.begin() + kOwn, model.pieces.end());
  pieces.push_back({"<mask>", 0, Type::control});
  model.pieces = std::move(pieces);
  TokenizerParts parts = sentencepiece_parts(model);
  parts.decoder = std::make_unique<MetaspaceDecoder>(std::string(kSpaceMark), model.add_dummy_prefix);
  for (TokenId id = 0; id <= static_cast<TokenId>(kOwn); ++id)
    add_special(parts, model.pieces[static_cast<size_t>(id)].token, id);
  add_special(parts, "<mask>", static_cast<TokenId>(model.pieces.size()) - 1);
  parts.added_tokens.back().lstrip = true;
  parts.post_processor = PostProcessor::roberta(0, 2);
  return parts;
}

// DeBERTa's: BERT's special tokens are pieces, but for the mask, which stands behind them.
TokenizerParts deberta_parts(const SentencePieceModel& model, const json& settings) {
  for (const char* key : {"do_lower_case", "split_by_punct"})
    if (flag(settings, key, false)) fail(ErrorCode::unsupported, "{}: {} of DeBERTa's tokenizer", kSettingsFile, key);
  TokenizerParts parts = sentencepiece_parts(model);
  parts.decoder = std::make_unique<MetaspaceDecoder>(std::string(kSpaceMark), model.add_dummy_prefix);
  const auto cls = special_token(parts, settings, "cls_token", "[CLS]");
  const auto sep = special_token(parts, settings, "sep_token", "[SEP]");
  if (cls.empty() || sep.empty()) malformed("sentencepiece", "the model has no [CLS] or no [SEP]");
  special_token(parts, settings, "unk_token", "[UNK]");
  special_token(parts, settings, "pad_token", "[PAD]");
  if (special_token(parts, settings, "mask_token", "[MASK]").empty())
    add_special(parts, token_of(settings, "mask_token").value_or("[MASK]"), static_cast<TokenId>(model.pieces.size()));
  parts.post_processor = PostProcessor::bert(cls.front(), sep.front());
  return parts;
}

TokenizerParts chatglm_family(SentencePieceModel model, const std::string& file_name, const json& settings) {
  if (flag(settings, "remove_space", false))
    fail(ErrorCode::unsupported, "{}: remove_space of ChatGLM's tokenizer", kSettingsFile);
  if (file_name != "ice_text.model") return chatglm2_parts(std::move(model));
  ChatGlmOptions options;
  options.num_image_tokens =
      optional_field<int64_t>(settings, "num_image_tokens", kSettingsFile).value_or(options.num_image_tokens);
  options.lowercase = flag(settings, "do_lower_case", false);
  if (options.num_image_tokens > INT32_MAX) malformed(kSettingsFile, "num_image_tokens is too large");
  return chatglm_parts(model, options);
}

}  // namespace

TokenizerParts parse_sentencepiece_family(std::span<const std::byte> file, const std::string& file_name,
                                          const json& settings) {
  SentencePieceModel model = parse_sentencepiece(file);
  const std::string name = class_of(settings);
  if (name == "ChatGLMTokenizer" || file_name == "ice_text.model")
    return chatglm_family(std::move(model), file_name, settings);
  const bool t5_file = file_name == "spiece.model", xlm_file = file_name == "sentencepiece.bpe.model";
  if (name == "T5Tokenizer" || (name.empty() && t5_file)) return t5_parts(model, settings);
  if (name == "XLMRobertaTokenizer" || (name.empty() && xlm_file)) return xlm_roberta_parts(std::move(model));
  const bool deberta_file = file_name == "spm.model";
  if (name == "DebertaV2Tokenizer" || (name.empty() && deberta_file)) return deberta_parts(model, settings);
  if (t5_file || xlm_file || deberta_file)
    fail(ErrorCode::unsupported, "the rules of the tokenizer_class '{}' are not known; save it as tokenizer.json",
         name);
  return llama_parts(std::move(model), settings);
}

}  // namespace lathe::text
