#include "llm/scheduler.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"

namespace lathe::llm {
namespace {

Sequence& leader_of(Task& task) {
  return *std::find_if(task.sequences.begin(), task.sequences.end(), [](const Sequence& s) { return !s.finished; });
}

int64_t single_tokens(const Task& task) {
  return std::count_if(task.sequences.begin(), task.sequences.end(),
                       [](const Sequence& s) { return s.ready() && s.remaining() == 1; });
}

bool outgrows(const Task& task, const Sequence& sequence) {
  return task.long_from > 0 && !sequence.is_long && sequence.length() > task.long_from;
}

// Positions are part of what blocks hold.
std::string salt_of(const Task& task, const Sequence& sequence) { return (sequence.is_long ? "+" : "-") + task.salt; }

bool is_saved(const Task& task) {
  return std::any_of(task.sequences.begin(), task.sequences.end(), [](const Sequence& s) { return !s.saved.empty(); });
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), pool_(options.blocks), source_pool_(options.source_blocks), saved_pool_(options.saved_blocks) {
  if (options.block_size < 1 || options.step_tokens < 1 || options.max_sequences < 1)
    fail(ErrorCode::invalid_argument, "block size, tokens and sequences of a step must be at least 1");
}

void Scheduler::check(const Task& task) const {
  const auto width = static_cast<int64_t>(task.width);
  if (width > options_.max_sequences)
    fail(ErrorCode::invalid_argument, "the request needs {} sequences at once, {} are allowed", width,
         options_.max_sequences);
  if (blocks_for(task.source_tokens) > source_pool_.size())
    fail(ErrorCode::invalid_argument, "a source of {} tokens needs {} cache blocks, there are {}", task.source_tokens,
         blocks_for(task.source_tokens), source_pool_.size());
  // The last token is never computed. Full blocks of the prompt are shared by all sequences, unless these are computed
  // again one by one; later ones by none.
  const bool shares = task.long_from == 0 || task.max_length <= task.long_from || width == 1;
  const int64_t shared = shares ? task.prompt_tokens / options_.block_size : 0;
  const int64_t needed = shared + width * (blocks_for(task.max_length - 1) - shared);
  if (needed > pool_.size())
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} tokens in {} sequence{} need {} cache blocks of {} tokens, there are {}",
                            task.max_length, width, width == 1 ? "" : "s", needed, options_.block_size, pool_.size()))
        .remedy("Ask for fewer tokens, or open the engine with more blocks");
}

void Scheduler::add(Task& task) {
  check(task);
  for (size_t i = 0; i < task.sequences.size(); ++i) {
    task.sequences[i].follows = i > 0;
    task.sequences[i].is_long = outgrows(task, task.sequences[i]);
  }
  waiting_.push_back(&task);
}

void Scheduler::remove(Task& task) {
  for (Sequence& sequence : task.sequences) release(sequence);
  for (const BlockId block : task.source_blocks) source_pool_.release(block, true);
  task.source_blocks.clear();
  running_.erase(std::remove(running_.begin(), running_.end(), &task), running_.end());
  waiting_.erase(std::remove(waiting_.begin(), waiting_.end(), &task), waiting_.end());
}

const Decision& Scheduler::next() {
  decision_.pieces.clear();
  for (auto* copies : {&decision_.saves, &decision_.loads, &decision_.copies}) copies->clear();
  budget_ = options_.step_tokens;
  single_tokens_ = 0;
  short_of_blocks_ = false;
  for (const Task* task : running_) single_tokens_ += single_tokens(*task);
  for (size_t i = 0; i < running_.size(); ++i) plan_task(i);
  if (!short_of_blocks_) admit();
  return decision_;
}

void Scheduler::plan_task(size_t index) {
  Task& task = *running_[index];
  single_tokens_ = std::max<int64_t>(0, single_tokens_ - single_tokens(task));
  for (size_t i = 0; i < task.sequences.size(); ++i) {
    Sequence& sequence = task.sequences[i];
    if (!sequence.ready()) continue;
    if (outgrows(task, sequence)) {
      release(sequence);
      sequence.is_long = true;
    }
    const int64_t count = piece_size(task, sequence);
    if (count == 0) continue;
    const int64_t blocks = blocks_for(sequence.computed + count) - static_cast<int64_t>(sequence.blocks.size());
    if (!make_room(index, blocks + (writes_shared_block(sequence) ? 1 : 0))) continue;
    decision_.pieces.push_back({&task, i, sequence.computed, count});
    extend(sequence, count);
    budget_ -= count;
  }
}

// Tokens that the sequence gets in this step. A prefix is not cut: where it is longer than a whole budget, it has a
// step that begins with it.
int64_t Scheduler::piece_size(const Task& task, const Sequence& sequence) const {
  const int64_t remaining = sequence.remaining();
  const int64_t free = remaining == 1 ? budget_ : budget_ - single_tokens_;
  const int64_t least = std::max<int64_t>(1, task.prefix_tokens - sequence.computed);
  if (free < least) return decision_.pieces.empty() ? least : 0;
  return std::min(remaining, free);
}

// Free blocks for the task at `index`, at the cost of younger ones. Without any, the task keeps what it has and waits:
// older ones can still take that.
bool Scheduler::make_room(size_t index, int64_t blocks) {
  while (pool_.available() < blocks) {
    short_of_blocks_ = true;
    if (index + 1 == running_.size()) return false;
    preempt_youngest();
  }
  return true;
}

void Scheduler::preempt_youngest() {
  Task& task = *running_.back();
  running_.pop_back();
  waiting_.push_front(&task);
  if (save(task)) return;
  bool first = true;
  for (Sequence& sequence : task.sequences) {
    release(sequence);
    if (sequence.finished) continue;
    sequence.follows = !first;
    first = false;
  }
}

// False when there is no room, or nothing to save. Sequences that share a block share its copy.
bool Scheduler::save(Task& task) {
  std::map<BlockId, BlockId> copies;
  for (const Sequence& sequence : task.sequences)
    for (const BlockId block : sequence.blocks) copies.emplace(block, 0);
  if (copies.empty() || static_cast<int64_t>(copies.size()) > saved_pool_.available()) return false;
  for (auto& [block, copy] : copies) {
    copy = saved_pool_.allocate();
    decision_.saves.push_back({block, copy});
  }
  for (Sequence& sequence : task.sequences) {
    std::vector<BlockId> saved;
    for (const BlockId block : sequence.blocks) saved.push_back(copies[block]);
    for (const BlockId copy : saved) saved_pool_.retain(copy);
    const int64_t computed = sequence.computed;
    release(sequence);
    sequence.computed = computed;
    sequence.saved = std::move(saved);
  }
  for (const auto& [block, copy] : copies) saved_pool_.release(copy, true);
  return true;
}

// What it had, and what its next tokens need, so that it does not come back for nothing.
int64_t Scheduler::blocks_to_load(const Task& task) const {
  std::set<BlockId> copies;
  int64_t more = 0;
  for (const Sequence& sequence : task.sequences) {
    copies.insert(sequence.saved.begin(), sequence.saved.end());
    if (sequence.ready()) more += blocks_for(sequence.computed + 1) - std::ssize(sequence.saved);
  }
  return std::ssize(copies) + more;
}

void Scheduler::load(Task& task) {
  std::map<BlockId, BlockId> blocks;
  for (Sequence& sequence : task.sequences) {
    for (const BlockId copy : sequence.saved) {
      const auto [place, is_new] = blocks.try_emplace(copy, 0);
      if (is_new) {
        place->second = take_block();
        decision_.loads.push_back({copy, place->second});
      } else {
        pool_.retain(place->second);
      }
      sequence.blocks.push_back(place->second);
      saved_pool_.release(copy, true);
    }
    sequence.saved.clear();
  }
}

void Scheduler::admit() {
  int64_t sequences = 0;
  for (const Task* task : running_) sequences += static_cast<int64_t>(task->width);
  while (!waiting_.empty() && budget_ > 0) {
    Task& task = *waiting_.front();
    sequences += static_cast<int64_t>(task.width);
    if (sequences > options_.max_sequences) return;
    if (!load_or_begin(task)) return;
    waiting_.pop_front();
    running_.push_back(&task);
    plan_task(running_.size() - 1);
  }
}

// False, and nothing done, when there are too few blocks.
bool Scheduler::load_or_begin(Task& task) {
  if (is_saved(task)) {
    if (pool_.available() < blocks_to_load(task)) return false;
    load(task);
    return true;
  }
  const Sequence& leader = leader_of(task);
  const std::vector<PrefixCache::Entry> prefix = cached_prefix(task, leader);
  const auto free_hits = std::count_if(prefix.begin(), prefix.end(),
                                       [&](const auto& entry) { return pool_.references(entry.block) == 0; });
  const int64_t new_blocks = blocks_for(leader.length()) - static_cast<int64_t>(prefix.size());
  if (pool_.available() - free_hits < new_blocks) return false;
  if (source_pool_.available() < missing_source_blocks(task)) return false;
  begin(task, prefix);
  return true;
}

// The longest chain of cached blocks that the sequence begins with. The last token is always computed: its logits are
// wanted.
std::vector<PrefixCache::Entry> Scheduler::cached_prefix(const Task& task, const Sequence& sequence) const {
  std::vector<PrefixCache::Entry> chain;
  if (!options_.prefix_cache || !task.reuse || task.source_tokens > 0) return chain;
  const std::span<const int32_t> tokens = sequence.tokens;
  const auto size = static_cast<size_t>(options_.block_size);
  const std::string salt = salt_of(task, sequence);
  PrefixCache::EntryId parent = PrefixCache::kRoot;
  for (size_t end = size; end < tokens.size(); end += size) {
    const auto entry = cache_.find(parent, salt, tokens.subspan(end - size, size));
    if (!entry) break;
    chain.push_back(*entry);
    parent = entry->id;
  }
  return chain;
}

int64_t Scheduler::missing_source_blocks(const Task& task) const {
  return blocks_for(task.source_tokens) - static_cast<int64_t>(task.source_blocks.size());
}

void Scheduler::begin(Task& task, const std::vector<PrefixCache::Entry>& prefix) {
  while (missing_source_blocks(task) > 0) task.source_blocks.push_back(source_pool_.allocate());
  Sequence& leader = leader_of(task);
  for (const PrefixCache::Entry& entry : prefix) {
    pool_.retain(entry.block);
    leader.blocks.push_back(entry.block);
    leader.entries.push_back(entry.id);
  }
  leader.computed = static_cast<int64_t>(prefix.size()) * options_.block_size;
  if (leader.length() == task.prompt_tokens) task.cached_tokens = leader.computed;
}

bool Scheduler::writes_shared_block(const Sequence& sequence) const {
  return sequence.computed % options_.block_size != 0 && pool_.references(sequence.blocks.back()) > 1;
}

// Blocks for `count` tokens more, the one that they begin in its own.
void Scheduler::extend(Sequence& sequence, int64_t count) {
  if (writes_shared_block(sequence)) {
    const BlockId shared = sequence.blocks.back();
    sequence.blocks.back() = take_block();
    decision_.copies.push_back({shared, sequence.blocks.back()});
    pool_.release(shared, false);
  }
  // What is written into a block of its own that the cache knows is another continuation.
  if (sequence.computed % options_.block_size != 0) cache_.forget(sequence.blocks.back());
  while (static_cast<int64_t>(sequence.blocks.size()) < blocks_for(sequence.computed + count))
    sequence.blocks.push_back(take_block());
}

BlockId Scheduler::take_block() {
  const BlockId block = pool_.allocate();
  cache_.forget(block);
  return block;
}

void Scheduler::complete(const Decision& decision) {
  for (const Decision::Piece& piece : decision.pieces) {
    Sequence& sequence = piece.task->sequences[piece.sequence];
    sequence.computed += piece.count;
    piece.task->source_computed = true;
    // What answers one source is of no use to others.
    if (options_.prefix_cache && piece.task->source_tokens == 0) remember(*piece.task, sequence);
    start_followers(*piece.task);
  }
}

void Scheduler::remember(const Task& task, Sequence& sequence) {
  const auto size = static_cast<size_t>(options_.block_size);
  const std::string salt = sequence.entries.empty() ? salt_of(task, sequence) : std::string();
  for (size_t i = sequence.entries.size(); (i + 1) * size <= static_cast<size_t>(sequence.computed); ++i) {
    const PrefixCache::EntryId parent = i == 0 ? PrefixCache::kRoot : sequence.entries.back();
    const auto tokens = std::span<const int32_t>(sequence.tokens).subspan(i * size, size);
    sequence.entries.push_back(cache_.insert(parent, salt, tokens, sequence.blocks[i]));
  }
}

void Scheduler::start_followers(Task& task) {
  const Sequence& leader = leader_of(task);
  if (leader.computed < task.prompt_tokens) return;
  const auto blocks = blocks_for(task.prompt_tokens);
  const auto full = static_cast<size_t>(task.prompt_tokens / options_.block_size);
  for (Sequence& sequence : task.sequences) {
    if (!sequence.follows || sequence.finished) continue;
    sequence.follows = false;
    if (sequence.is_long != leader.is_long) continue;  // it is computed by itself
    sequence.computed = task.prompt_tokens;
    sequence.blocks.assign(leader.blocks.begin(), leader.blocks.begin() + blocks);
    sequence.entries.assign(leader.entries.begin(), leader.entries.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                                                 full, leader.entries.size())));
    for (const BlockId block : sequence.blocks) pool_.retain(block);
  }
}

Sequence Scheduler::fork(const Sequence& sequence) {
  for (const BlockId block : sequence.blocks) pool_.retain(block);
  return sequence;
}

void Scheduler::release(Sequence& sequence) {
  // The end goes first, so that beginnings, which more prompts share, are kept longest.
  for (auto block = sequence.blocks.rbegin(); block != sequence.blocks.rend(); ++block)
    pool_.release(*block, !cache_.holds(*block));
  sequence.blocks.clear();
  for (const BlockId copy : sequence.saved) saved_pool_.release(copy, true);
  sequence.saved.clear();
  sequence.entries.clear();
  sequence.computed = 0;
}

}  // namespace lathe::llm
