// The prompt of a conversation, as the model's own chat template (the Jinja subset that such templates use) prescribes;
// results are those of Hugging Face's apply_chat_template: trim_blocks, lstrip_blocks, an immutable sandbox,
// loop controls, `generation` blocks, raise_exception, strftime_now, tojson without HTML escapes.
//
// Where this is not Python: integers have 64 bits, a range prints as a list, escape() gives an ordinary string,
// generators may be gone through twice, and case mapping is one character to one.
//
// A rendered prompt says which of its bytes users wrote. Encoded as plain text, "<|im_end|>" inside a message cannot
// end the message. Roles are the template's own words, unless they hold other characters than names do.
#pragma once

#include <cstddef>
#include <ctime>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat_template/marked_text.h"

namespace lathe::text {

struct RenderLimits {
  size_t steps = 50'000'000;        // evaluated nodes, elements, and bytes / 8 of every string on the way
  size_t depth = 500;               // nested expressions, statements and macro calls
  size_t output_bytes = 64u << 20;  // of the prompt
};

struct RenderOptions {
  RenderLimits limits;
  std::optional<std::tm> now;  // for strftime_now; the local time when left out
};

struct RenderedPrompt {
  std::string text;
  std::vector<ByteRange> user;        // what came out of messages, tools and documents
  std::vector<ByteRange> generation;  // what stood in {% generation %} blocks
};

class ChatTemplate {
 public:
  // Throws Error(invalid_model) with the line of a syntax error, Error(unsupported) for tags such as include.
  static ChatTemplate parse(std::string_view source);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // `variables` is an object: messages, tools, documents, add_generation_prompt, bos_token, and whatever else the
  // template knows (enable_thinking ...). Throws Error(invalid_argument) where the template refuses the conversation
  // by raise_exception, and Error(invalid_model) when it fails in another way; both name the line.
  RenderedPrompt render(const nlohmann::ordered_json& variables, const RenderOptions& options = {}) const;

 private:
  struct Parsed;
  explicit ChatTemplate(std::unique_ptr<const Parsed> parsed);

  std::unique_ptr<const Parsed> parsed_;
};

}  // namespace lathe::text
