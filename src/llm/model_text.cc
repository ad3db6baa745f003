#include "llm/model_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/stream_decoder.h"

namespace lathe::llm {
namespace {

class StreamedText : public TextDecoder {
 public:
  explicit StreamedText(const text::Tokenizer& tokenizer) : decoder_(tokenizer) {}
  std::string push(int32_t id) override { return decoder_.push(id); }
  std::string flush() override { return decoder_.finish(); }

 private:
  text::StreamDecoder decoder_;
};

// A tokenizer of another model would turn every text into other tokens, and no later step would notice. Vocabularies of
// models are often padded, and tokens may have been added to a tokenizer that its model never sees: neither is a fault.
void expect_fit(const text::Tokenizer& tokenizer, const checkpoint::DecoderInfo& info) {
  const auto refuse = [](const std::string& why) {
    throw Error(ErrorCode::invalid_model, "the tokenizer is one of another model: " + why)
        .remedy("Put the tokenizer that belongs to the weights beside them, or name it: --tokenizer");
  };
  for (auto id = static_cast<text::TokenId>(info.vocab); id < static_cast<text::TokenId>(tokenizer.vocab_size()); ++id)
    if (const auto token = tokenizer.id_to_token(id); token && !tokenizer.is_added(id))
      refuse(fmt::format("its token {} is '{}', and the model has {}", id, *token, info.vocab));
  const auto end = tokenizer.special_tokens().eos;
  if (!end || info.eos_ids.empty()) return;
  const auto ends_text = [&](int32_t id) {
    const auto token = static_cast<text::TokenId>(id);
    return token == *end || tokenizer.is_added(token);
  };
  if (std::any_of(info.eos_ids.begin(), info.eos_ids.end(), ends_text)) return;
  const auto token = tokenizer.id_to_token(static_cast<text::TokenId>(info.eos_ids.front()));
  refuse(fmt::format("it ends texts with token {}, the model with {}, {}", *end, info.eos_ids.front(),
                     token ? fmt::format("which stands for '{}' there", *token) : "which it does not have"));
}

}  // namespace

std::unique_ptr<ModelText> ModelText::load(const std::filesystem::path& folder, const checkpoint::DecoderInfo& info,
                                           const std::filesystem::path& tokenizer) {
  std::unique_ptr<text::Tokenizer> loaded;
  try {
    loaded = text::Tokenizer::load(tokenizer.empty() ? folder : tokenizer);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found || !tokenizer.empty()) throw;
    return nullptr;
  }
  expect_fit(*loaded, info);
  const bool elsewhere = std::filesystem::is_directory(tokenizer);
  return std::unique_ptr<ModelText>(
      new ModelText(std::move(loaded), text::PromptFormat::load(elsewhere ? tokenizer : folder), info));
}

std::optional<int32_t> ModelText::eos() const {
  const auto eos = tokenizer_->special_tokens().eos;
  if (!eos) return std::nullopt;
  return static_cast<int32_t>(*eos);
}

ModelText::ModelText(std::unique_ptr<text::Tokenizer> tokenizer, text::PromptFormat format,
                     const checkpoint::DecoderInfo& info)
    : tokenizer_(std::move(tokenizer)),
      format_(std::move(format)),
      vocabulary_(info.vocab),
      block_positions_(info.block_positions),
      bos_id_(info.bos_id),
      mask_id_(info.mask_id),
      gmask_id_(info.gmask_id) {}

std::vector<int32_t> ModelText::encode(std::string_view prompt) const {
  std::vector<int32_t> ids = checked(tokenizer_->encode(prompt).ids);
  complete_prompt(ids);
  return ids;
}

std::vector<int32_t> ModelText::encode_chat(std::span<const ChatMessage> messages) const {
  nlohmann::ordered_json conversation = {{"messages", nlohmann::ordered_json::array()},
                                         {"add_generation_prompt", true}};
  for (const ChatMessage& message : messages)
    conversation["messages"].push_back({{"role", message.role}, {"content", message.content}});
  const text::RenderedPrompt prompt = format_.render(conversation);
  text::EncodeOptions options;
  options.add_special_tokens = !format_.has_special_tokens();
  options.plain = prompt.user;  // a message cannot end its turn by spelling the token that does
  std::vector<int32_t> ids = checked(tokenizer_->encode(prompt.text, options).ids);
  complete_prompt(ids);
  return ids;
}

std::vector<int32_t> ModelText::checked(const std::vector<text::TokenId>& ids) const {
  for (const text::TokenId id : ids)
    if (id >= vocabulary_)
      fail(ErrorCode::invalid_model, "the tokenizer does not fit the model: it gives token {}, the model has {}", id,
           vocabulary_);
  return {ids.begin(), ids.end()};
}

void ModelText::complete_prompt(std::vector<int32_t>& ids) const {
  if (!block_positions_ || std::count(ids.begin(), ids.end(), bos_id_) > 0) return;
  if (std::count(ids.begin(), ids.end(), mask_id_) + std::count(ids.begin(), ids.end(), gmask_id_) == 0)
    ids.push_back(gmask_id_);
  ids.push_back(bos_id_);
}

std::string ModelText::decode(std::span<const int32_t> ids) const {
  return tokenizer_->decode(std::vector<text::TokenId>(ids.begin(), ids.end()));
}

std::unique_ptr<TextDecoder> ModelText::decoder() const { return std::make_unique<StreamedText>(*tokenizer_); }

}  // namespace lathe::llm
