// What the scheduler knows of a request: its sequences, as tokens and as blocks of the cache.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llm/block_pool.h"
#include "llm/prefix_cache.h"

namespace lathe::llm {

// Tokens only ever get appended, and blocks are in the order of tokens. A block that others hold too is never written:
// the scheduler has it copied first.
struct Sequence {
  std::vector<int32_t> tokens;  // prompt and answer
  int64_t computed = 0;         // of the tokens: their keys and values are in the blocks
  std::vector<BlockId> blocks;
  std::vector<PrefixCache::EntryId> entries;  // of its first full blocks
  std::vector<BlockId> saved;                 // while its task waits: copies of its blocks on the host, if it has any
  bool finished = false;
  bool is_long = false;  // what it has computed has the positions of sequences beyond Task::long_from
  // It starts as a fork of the task's first unfinished sequence, once that has computed the prompt.
  bool follows = false;

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  int64_t remaining() const { return length() - computed; }
  bool ready() const { return !finished && !follows && remaining() > 0; }
};

struct Task {
  std::vector<Sequence> sequences;
  size_t width = 1;           // sequences that there may be at once
  int64_t prompt_tokens = 0;  // that all sequences begin with
  int64_t prefix_tokens = 0;  // of the prompt: they see each other, so one step must compute all of them
  int64_t max_length = 0;     // tokens of the longest that a sequence may become
  int64_t long_from = 0;      // sequences of more tokens have other positions; 0: no such length
  std::string salt;           // see PrefixCache
  bool reuse = true;          // blocks of others may be taken instead of computing the prompt
  int64_t cached_tokens = 0;  // that were not computed when the task began
  // Of a model with an encoder: the source that all sequences look at. Its blocks, of a pool of their own, are taken
  // when the task first runs and kept until it ends, preempted or not.
  int64_t source_tokens = 0;
  std::vector<BlockId> source_blocks;
  bool source_computed = false;

 protected:
  ~Task() = default;
};

}  // namespace lathe::llm
