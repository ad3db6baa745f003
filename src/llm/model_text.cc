#include "llm/model_text.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::llm {

std::unique_ptr<ModelText> ModelText::load(const std::filesystem::path& folder, const checkpoint::DecoderInfo& info) {
  try {
    return std::unique_ptr<ModelText>(new ModelText(text::Tokenizer::load(folder), info));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    return nullptr;
  }
}

ModelText::ModelText(std::unique_ptr<text::Tokenizer> tokenizer, const checkpoint::DecoderInfo& info)
    : tokenizer_(std::move(tokenizer)),
      block_positions_(info.block_positions),
      bos_id_(info.bos_id),
      mask_id_(info.mask_id),
      gmask_id_(info.gmask_id) {
  if (static_cast<int64_t>(tokenizer_->vocab_size()) > info.vocab)
    fail(ErrorCode::invalid_model, "the tokenizer has {} tokens, the model {}", tokenizer_->vocab_size(), info.vocab);
}

std::vector<int32_t> ModelText::encode(std::string_view prompt) const {
  const std::vector<text::TokenId> encoded = tokenizer_->encode(prompt).ids;
  std::vector<int32_t> ids(encoded.begin(), encoded.end());
  complete_prompt(ids);
  return ids;
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

}  // namespace lathe::llm
