#include "graph/paged_step.h"

#include "base/error.h"

namespace lathe {
namespace {

void check_sequence(const PagedStep& step, int64_t s) {
  const int64_t context = step.context(s), capacity = step.table_width * step.block_size;
  if (context < step.new_tokens(s))
    fail(ErrorCode::invalid_argument, "sequence {} has {} new tokens in a context of {}", s, step.new_tokens(s),
         context);
  if (context > capacity)
    fail(ErrorCode::invalid_argument, "sequence {} has a context of {}, its row of the block table reaches to {}", s,
         context, capacity);
  for (int64_t j = 0; j < context; j += step.block_size)
    if (step.block(s, j) < 0 || step.block(s, j) >= step.blocks)
      fail(ErrorCode::invalid_argument, "sequence {}: block {} of {} does not exist", s, step.block(s, j), step.blocks);
}

}  // namespace

void check(const PagedStep& step) {
  if (step.start(0) != 0) fail(ErrorCode::invalid_argument, "the first sequence starts at token {}", step.start(0));
  for (int64_t s = 0; s < step.sequences(); ++s) {
    if (step.new_tokens(s) < 0)
      fail(ErrorCode::invalid_argument, "sequence {} starts at token {} and ends at {}", s, step.start(s),
           step.start(s + 1));
    if (step.new_tokens(s) > 0) check_sequence(step, s);
  }
  if (step.start(step.sequences()) > step.tokens)
    fail(ErrorCode::invalid_argument, "the last sequence ends at token {} of {}", step.start(step.sequences()),
         step.tokens);
}

}  // namespace lathe
