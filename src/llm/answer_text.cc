#include "llm/answer_text.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace lathe::llm {

AnswerText::AnswerText(std::unique_ptr<TextDecoder> decoder, std::vector<std::string> stops)
    : decoder_(std::move(decoder)), stops_(std::move(stops)) {
  stops_.erase(std::remove(stops_.begin(), stops_.end(), ""), stops_.end());
}

std::string AnswerText::push(int32_t id) {
  if (decoder_ == nullptr || stopped_) return {};
  held_ += decoder_->push(id);
  return release(false);
}

std::string AnswerText::finish() {
  if (decoder_ == nullptr || stopped_) return {};
  held_ += decoder_->flush();
  return release(true);
}

std::string AnswerText::release(bool all) {
  size_t end = std::string::npos;
  for (const std::string& stop : stops_) end = std::min(end, held_.find(stop));
  if (end != std::string::npos) {
    stopped_ = true;
    return held_.substr(0, end);
  }
  size_t kept = 0;
  for (const std::string& stop : stops_)
    for (size_t length = std::min(stop.size() - 1, held_.size()); !all && length > kept; --length)
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, length))) kept = length;
  std::string certain = held_.substr(0, held_.size() - kept);
  held_.erase(0, certain.size());
  return certain;
}

}  // namespace lathe::llm
