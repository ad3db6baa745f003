// Where the tokens of a sequence stand for a decoder: positions, what else they turn by, and how much of the prompt
// sees all of itself. Plain counting for most families.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "checkpoint/decoder.h"

namespace lathe::checkpoint {

// Holds for a prompt and for what is generated after it. `index` counts the tokens of the sequence from 0; it has
// `length` of them.
struct PromptLayout {
  int64_t prefix_length = 0;  // keys before it are visible to every query
  // ChatGLM-6B: from `context` on, tokens fill the gap at `gap`, in the order of their block positions 1, 2, 3, ..
  int64_t context = -1;  // -1: no gap
  int64_t gap = 0;
  int64_t long_from = 0;  // longer sequences turn by tables of their own, `long_offset` rows below; 0: none do
  int64_t long_offset = 0;
  // Dynamic scaling: each token turns by the length that the sequence had when it came, beyond `stretched_from`; those
  // of the prompt came together.
  int64_t stretched_from = 0;  // 0: no such scaling
  int64_t prompt_length = 0;

  int32_t position(int64_t index, int64_t length) const {
    const int64_t offset = long_from > 0 && length > long_from ? long_offset : 0;
    return static_cast<int32_t>(context >= 0 && index >= context ? gap : index + offset);
  }
  int32_t block_position(int64_t index) const {
    if (stretched_from > 0)
      return static_cast<int32_t>(std::max<int64_t>(std::max(index + 1, prompt_length) - stretched_from, 0));
    return static_cast<int32_t>(context >= 0 && index >= context ? index - context + 1 : 0);
  }
};

// Throws Error(invalid_argument) for a prompt without the tokens that ChatGLM-6B's positions hang on. A prompt that is
// continued keeps the layout that it began with.
PromptLayout layout_prompt(const DecoderInfo& info, std::span<const int32_t> ids);

}  // namespace lathe::checkpoint
