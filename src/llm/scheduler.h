// Decides what the next step computes: how many tokens of which sequences, within one budget. There are no modes: a
// piece of a prompt, the one token that an answer grows by and what a preempted task computes again are all "tokens
// that are not computed yet".
//
// - Running tasks come first, in the order of their arrival, and each sequence that needs a single token is sure of it
//   before prompts get what is left. Then waiting tasks are admitted, also in order, if their tokens fit the free
//   blocks.
// - When blocks run out, the youngest running task gives back all of its own and waits in front. They are saved on the
//   host, where there is room for copies; else they will be computed again. The oldest is never preempted, and a task
//   that does not fit the pool alone is refused at once: so there is always progress. Blocks of sources are kept by
//   preempted tasks, before which no other is admitted.
// - Keys and values are only ever appended. A sequence about to write into a block that others hold copies it first.
//   One that grows beyond a length where positions change is computed again.
//
// Not thread-safe. Memory and arithmetic are the model's: a decision names the blocks to copy and the tokens to
// compute.
#pragma once

#include <deque>
#include <vector>

#include "llm/block_pool.h"
#include "llm/prefix_cache.h"
#include "llm/task.h"

namespace lathe::llm {

struct SchedulerOptions {
  int64_t blocks = 0;
  int64_t source_blocks = 0;  // for the sources of a model with an encoder
  int64_t saved_blocks = 0;   // copies of blocks that the host has room for
  int64_t block_size = 16;
  int64_t step_tokens = 512;
  int64_t max_sequences = 64;
  bool prefix_cache = true;
  int sampling_threads = 1;  // that choose tokens, where there is much to choose from
};

struct Decision {
  // The tokens [first, first + count) of a sequence.
  struct Piece {
    Task* task;
    size_t sequence;
    int64_t first, count;
  };
  struct Copy {
    BlockId from, to;
  };
  // In this order, before the pieces are computed: blocks to copies on the host, such copies to blocks, blocks to
  // blocks.
  std::vector<Copy> saves, loads, copies;
  std::vector<Piece> pieces;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // Throws Error(invalid_argument) when the task could not run even alone.
  void check(const Task& task) const;
  // The task stays the caller's and must be removed before it goes. Its sequences hold the prompt.
  void add(Task& task);
  void remove(Task& task);

  // Empty only when no task has tokens left to compute. Valid until the next call.
  const Decision& next();
  // The pieces have been computed. Sequences that follow are forked where the prompt is done.
  void complete(const Decision& decision);

  // A sequence with the same tokens, on the same blocks.
  Sequence fork(const Sequence& sequence);
  // Gives its blocks back; its tokens stay.
  void release(Sequence& sequence);

  const BlockPool& pool() const { return pool_; }
  const BlockPool& source_pool() const { return source_pool_; }
  const BlockPool& saved_pool() const { return saved_pool_; }
  const std::vector<Task*>& running() const { return running_; }
  const std::deque<Task*>& waiting() const { return waiting_; }

 private:
  void plan_task(size_t index);
  void admit();
  bool make_room(size_t index, int64_t blocks);
  void preempt_youngest();
  bool save(Task& task);
  void load(Task& task);
  int64_t blocks_to_load(const Task& task) const;
  bool load_or_begin(Task& task);
  int64_t piece_size(const Task& task, const Sequence& sequence) const;
  std::vector<PrefixCache::Entry> cached_prefix(const Task& task, const Sequence& sequence) const;
  void begin(Task& task, const std::vector<PrefixCache::Entry>& prefix);
  void extend(Sequence& sequence, int64_t count);
  void remember(const Task& task, Sequence& sequence);
  void start_followers(Task& task);
  int64_t missing_source_blocks(const Task& task) const;
  BlockId take_block();
  int64_t blocks_for(int64_t tokens) const { return (tokens + options_.block_size - 1) / options_.block_size; }
  bool writes_shared_block(const Sequence& sequence) const;

  SchedulerOptions options_;
  BlockPool pool_, source_pool_, saved_pool_;
  PrefixCache cache_;
  std::vector<Task*> running_;  // oldest first
  std::deque<Task*> waiting_;   // preempted ones in front
  Decision decision_;           // the last one; its memory is kept
  // While a decision is made:
  int64_t budget_ = 0;
  int64_t single_tokens_ = 0;  // of tasks that have not had their turn
  bool short_of_blocks_ = false;
};

}  // namespace lathe::llm
