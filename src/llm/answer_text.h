// The text of one answer, token by token: what has become certain is handed out, what may still turn out to be the
// beginning of a stop string is held back. A stop string ends the text and is no part of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace lathe::llm {

// Tokens to text, as they come.
class TextDecoder {
 public:
  virtual ~TextDecoder() = default;
  virtual std::string push(int32_t id) = 0;  // whole characters only
  virtual std::string flush() = 0;           // what is left when no more tokens come
};

using TextDecoderFactory = std::function<std::unique_ptr<TextDecoder>()>;

class AnswerText {
 public:
  // Without a decoder there is no text.
  AnswerText(std::unique_ptr<TextDecoder> decoder, std::vector<std::string> stops);

  std::string push(int32_t id);
  // No more tokens come.
  std::string finish();
  // A stop string was found; nothing comes after it.
  bool stopped() const { return stopped_; }

 private:
  std::string release(bool all);

  std::unique_ptr<TextDecoder> decoder_;
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace lathe::llm
