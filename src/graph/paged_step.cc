#include "graph/paged_step.h"

#include <string_view>

#include "base/error.h"

namespace lathe {
namespace {

void check_starts(std::span<const int32_t> starts, int64_t count, std::string_view what) {
  if (starts.front() != 0)
    fail(ErrorCode::invalid_argument, "the first sequence starts at {} {}", what, starts.front());
  for (size_t s = 0; s + 1 < starts.size(); ++s)
    if (starts[s + 1] < starts[s])
      fail(ErrorCode::invalid_argument, "sequence {} starts at {} {} and ends at {}", s, what, starts[s],
           starts[s + 1]);
  if (starts.back() > count)
    fail(ErrorCode::invalid_argument, "the last sequence ends at {} {} of {}", what, starts.back(), count);
}

void check_sequence(const PagedStep& step, int64_t s) {
  const int64_t context = step.context(s), capacity = step.table_width * step.block_size;
  if (context < step.new_keys(s))
    fail(ErrorCode::invalid_argument, "sequence {} has {} new {} in a context of {}", s, step.new_keys(s),
         step.is_cross() ? "keys" : "tokens", context);
  if (context < 1) fail(ErrorCode::invalid_argument, "sequence {} has no keys", s);
  if (context > capacity)
    fail(ErrorCode::invalid_argument, "sequence {} has a context of {}, its row of the block table reaches to {}", s,
         context, capacity);
  for (int64_t j = 0; j < context; j += step.block_size)
    if (step.block(s, j) < 0 || step.block(s, j) >= step.blocks)
      fail(ErrorCode::invalid_argument, "sequence {}: block {} of {} does not exist", s, step.block(s, j), step.blocks);
}

}  // namespace

void check(const PagedStep& step) {
  check_starts(step.starts, step.tokens, "token");
  if (step.is_cross()) check_starts(step.key_starts, step.keys, "key");
  for (int64_t s = 0; s < step.sequences(); ++s)
    if (step.new_tokens(s) > 0 || step.new_keys(s) > 0) check_sequence(step, s);
}

}  // namespace lathe
