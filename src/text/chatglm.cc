#include "text/chatglm.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/decoders.h"
#include "text/normalizers.h"
#include "text/sentencepiece.h"

namespace lathe::text {
namespace {

constexpr std::string_view kLineFeed = "<n>", kTab = "<|tab|>";
constexpr size_t kLongestBlank = 80;

std::string blank_token(size_t length) { return fmt::format("<|blank_{}|>", length); }

// White space to tokens that sentencepiece then takes as they are.
class ChatGlmWhitespace final : public Normalizer {
 public:
  std::string normalize(std::string_view text) const override {
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size();) {
      if (text[i] == '\n' || text[i] == '\t') {
        out += text[i++] == '\n' ? kLineFeed : kTab;
      } else if (text[i] == ' ') {
        const size_t end = std::min(text.find_first_not_of(' ', i), text.size());
        for (; end - i > kLongestBlank; i += kLongestBlank) out += blank_token(kLongestBlank);
        out += end - i == 1 ? " " : blank_token(end - i);
        i = end;
      } else {
        out += text[i++];
      }
    }
    return out;
  }
};

class ChatGlmDecoder final : public Decoder {
 public:
  explicit ChatGlmDecoder(std::unique_ptr<Decoder> pieces) : pieces_(std::move(pieces)) {}
  void decode(std::vector<std::string>& tokens) const override {
    pieces_->decode(tokens);
    FuseDecoder().decode(tokens);
    std::string& text = tokens.front();
    replace_all(text, kLineFeed, "\n");
    replace_all(text, kTab, "\t");
    if (text.find("<|blank_") == std::string::npos) return;
    for (size_t length = 2; length <= kLongestBlank; ++length)
      replace_all(text, blank_token(length), std::string(length, ' '));
  }

 private:
  std::unique_ptr<Decoder> pieces_;
};

TokenId require(const Vocabulary& vocabulary, std::string_view token) {
  const auto id = vocabulary.id(token);
  if (!id) fail(ErrorCode::invalid_model, "a ChatGLM tokenizer needs the token '{}'", token);
  return *id;
}

}  // namespace

TokenizerParts chatglm_parts(const SentencePieceModel& model, const ChatGlmOptions& options) {
  TokenizerParts parts = sentencepiece_parts(model, options.num_image_tokens);
  std::vector<std::unique_ptr<Normalizer>> normalizers;
  if (options.lowercase) normalizers.push_back(std::make_unique<Lowercase>());
  normalizers.push_back(std::make_unique<ChatGlmWhitespace>());
  normalizers.push_back(std::move(parts.normalizer));
  parts.normalizer = std::make_unique<NormalizerSequence>(std::move(normalizers));
  parts.decoder = std::make_unique<ChatGlmDecoder>(std::move(parts.decoder));

  using Kind = PostProcessor::Piece::Kind;
  const Vocabulary& vocabulary = parts.model->vocabulary();
  const std::vector<TokenId> start = {require(vocabulary, "[gMASK]"), require(vocabulary, "<sop>")};
  std::vector<PostProcessor::Piece> single = {{Kind::first, 0}, {Kind::special, 0, start}};
  std::vector<PostProcessor::Piece> pair = single;
  pair.push_back({Kind::second, 0});
  pair.push_back({Kind::special, 0, {require(vocabulary, "<eop>")}});
  parts.post_processor = PostProcessor(std::move(single), std::move(pair));
  return parts;
}

PostProcessor chatglm_start(TokenId gmask, TokenId sop, TokenId end) {
  using Kind = PostProcessor::Piece::Kind;
  std::vector<PostProcessor::Piece> single = {{Kind::special, 0, {gmask, sop}}, {Kind::first, 0}};
  std::vector<PostProcessor::Piece> pair = single;
  pair.push_back({Kind::second, 0});
  pair.push_back({Kind::special, 0, {end}});
  return PostProcessor(std::move(single), std::move(pair));
}

TokenizerParts chatglm2_parts(SentencePieceModel model) {
  using Type = SentencePieceModel::Type;
  const auto add = [&](std::string token) { model.pieces.push_back({std::move(token), 0, Type::control}); };
  for (const char* token : {"[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"}) add(token);
  const auto roles = {"<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"};
  for (const char* role : roles) add(role);
  TokenizerParts parts = sentencepiece_parts(model);
  const Vocabulary& vocabulary = parts.model->vocabulary();
  for (const char* role : roles) {
    AddedToken& token = parts.added_tokens.emplace_back();
    token.id = require(vocabulary, role);
    token.content = role;
    token.special = true;
  }
  parts.post_processor =
      chatglm_start(require(vocabulary, "[gMASK]"), require(vocabulary, "sop"), require(vocabulary, "</s>"));
  return parts;
}

}  // namespace lathe::text
