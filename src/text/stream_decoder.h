// Text from ids that come one at a time. A piece never ends inside a character: while the text so far ends in U+FFFD,
// which may yet become a character, it is held back. All pieces and the rest together are the text of all ids (before
// clean_up_tokenization_spaces, which a stream cannot do). The work for an id does not grow with the text.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace lathe::text {

class StreamDecoder {
 public:
  // `tokenizer` must outlive this object.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true)
      : tokenizer_(tokenizer), skip_special_(skip_special_tokens) {}

  // The text that `id` completes; often empty.
  std::string push(TokenId id);
  // What is held back. The next push() begins a new text.
  std::string finish();

 private:
  std::string text_of_window() const { return tokenizer_.decode_plain(window_, skip_special_); }

  const Tokenizer& tokenizer_;
  bool skip_special_;
  // The last ids: those whose text is given out and, behind them, those that wait. The former stay because what an id
  // becomes depends on whether it is the first with a text.
  std::vector<TokenId> window_;
  size_t given_ids_ = 0;         // how many of them are given out
  size_t given_characters_ = 0;  // of the window's text
};

}  // namespace lathe::text
