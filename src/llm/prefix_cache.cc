#include "llm/prefix_cache.h"

namespace lathe::llm {

PrefixCache::Key PrefixCache::make_key(EntryId parent, std::string_view salt, std::span<const int32_t> tokens) {
  return {parent, parent == kRoot ? std::string(salt) : std::string(), {tokens.begin(), tokens.end()}};
}

size_t PrefixCache::Hash::operator()(const Key& key) const {
  uint64_t hash = std::hash<std::string>()(key.salt) ^ key.parent;
  for (const int32_t token : key.tokens) {
    hash = (hash ^ static_cast<uint32_t>(token)) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 32;
  }
  return static_cast<size_t>(hash);
}

std::optional<PrefixCache::Entry> PrefixCache::find(EntryId parent, std::string_view salt,
                                                    std::span<const int32_t> tokens) const {
  const auto found = entries_.find(make_key(parent, salt, tokens));
  if (found == entries_.end()) return std::nullopt;
  return found->second;
}

PrefixCache::EntryId PrefixCache::insert(EntryId parent, std::string_view salt, std::span<const int32_t> tokens,
                                         BlockId block) {
  const auto [place, added] = entries_.try_emplace(make_key(parent, salt, tokens), Entry{next_, block});
  if (added) {
    ++next_;
    by_block_.emplace(block, &place->first);
  }
  return place->second.id;
}

void PrefixCache::forget(BlockId block) {
  const auto found = by_block_.find(block);
  if (found == by_block_.end()) return;
  entries_.erase(entries_.find(*found->second));
  by_block_.erase(found);
}

}  // namespace lathe::llm
