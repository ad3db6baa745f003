// The text side of a model: its tokenizer, and how a conversation becomes a prompt.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/decoder.h"
#include "lathe/llm.h"
#include "llm/answer_text.h"
#include "text/chat_template/prompt_format.h"
#include "text/tokenizer.h"

namespace lathe::llm {

class ModelText {
 public:
  // Null when the folder has no tokenizer: such a model takes and gives ids. `tokenizer`, if not empty, is a file or
  // folder to be used instead, which must be there.
  static std::unique_ptr<ModelText> load(const std::filesystem::path& folder, const checkpoint::DecoderInfo& info,
                                         const std::filesystem::path& tokenizer = {});
  // The token that ends a text, where the tokenizer says so.
  std::optional<int32_t> eos() const;

  // With the special tokens that the model expects around a prompt. Throws Error(invalid_model) for an id that the
  // model does not have.
  std::vector<int32_t> encode(std::string_view prompt) const;
  // The prompt of a conversation, up to where the next answer begins.
  std::vector<int32_t> encode_chat(std::span<const ChatMessage> messages) const;
  // Where a turn of the model ends although no token ends it.
  const std::vector<std::string>& chat_stops() const { return format_.stop_strings(); }
  std::string decode(std::span<const int32_t> ids) const;
  // Refers to this object.
  std::unique_ptr<TextDecoder> decoder() const;

 private:
  ModelText(std::unique_ptr<text::Tokenizer> tokenizer, text::PromptFormat format, const checkpoint::DecoderInfo& info);
  std::vector<int32_t> checked(const std::vector<text::TokenId>& ids) const;
  // ChatGLM-6B: a prompt ends with the token whose place the answer takes, and the one that begins it.
  void complete_prompt(std::vector<int32_t>& ids) const;

  std::unique_ptr<text::Tokenizer> tokenizer_;
  text::PromptFormat format_;
  int64_t vocabulary_ = 0;
  bool block_positions_ = false;
  int32_t bos_id_ = -1, mask_id_ = -1, gmask_id_ = -1;
};

}  // namespace lathe::llm
