#include "checkpoint/positions.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::checkpoint {

PromptLayout layout_prompt(const DecoderInfo& info, std::span<const int32_t> ids) {
  PromptLayout layout;
  const auto length = static_cast<int64_t>(ids.size());
  layout.long_from = info.long_context;
  layout.long_offset = info.max_positions;
  layout.stretched_from = info.dynamic_context;
  layout.prompt_length = length;
  if (!info.block_positions) return layout;
  const auto find = [&](int32_t id) { return std::find(ids.begin(), ids.end(), id) - ids.begin(); };
  const int64_t gmask = find(info.gmask_id), mask = find(info.mask_id);
  layout.context = find(info.bos_id);
  layout.gap = gmask < length ? gmask : mask;
  layout.prefix_length = layout.context;
  if (layout.context == length || layout.gap == length)
    throw Error(ErrorCode::invalid_argument,
                fmt::format("the prompt of a {} model needs the token {} or {}, and the token {} behind its context",
                            info.family, info.gmask_id, info.mask_id, info.bos_id))
        .remedy("The model's tokenizer appends [gMASK] and <sop> to a prompt");
  return layout;
}

}  // namespace lathe::checkpoint
