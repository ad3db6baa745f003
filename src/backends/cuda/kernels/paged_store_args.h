// The argument of the kernel that stores new keys and values in a paged cache.
#pragma once

#include "paged_attention_args.h"
#include "rotary_args.h"

struct PagedStoreArgs {
  PagedAttentionArgs attention;
  RotaryArgs queries, keys;  // where these are to be turned before
  int early;                 // what ran before the kernel ahead of this one is complete
};
