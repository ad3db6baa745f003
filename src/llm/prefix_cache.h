// Which blocks hold the keys and values of which text. A full block is known by its own tokens and by the entry of the
// block before it, so that a chain of entries stands for a whole prefix; the first block's key also holds the salt of
// the request, which keeps apart what may not be shared. Keys are compared in full: a collision of hashes shares
// nothing.
//
// Entries are numbered and a number is never used again. So when a block is taken for something else, the entries that
// followed it can no longer be reached; their blocks were given back before it and go first.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "llm/block_pool.h"

namespace lathe::llm {

class PrefixCache {
 public:
  using EntryId = uint64_t;
  static constexpr EntryId kRoot = 0;  // what comes before the first block

  struct Entry {
    EntryId id = kRoot;
    BlockId block = -1;
  };

  // The entry of `tokens` behind `parent`. `salt` counts only behind the root.
  std::optional<Entry> find(EntryId parent, std::string_view salt, std::span<const int32_t> tokens) const;
  // The entry of these tokens, made with this block if there is none yet.
  EntryId insert(EntryId parent, std::string_view salt, std::span<const int32_t> tokens, BlockId block);
  // True when an entry names this block.
  bool holds(BlockId block) const { return by_block_.count(block) > 0; }
  // The block is about to hold something else.
  void forget(BlockId block);
  size_t size() const { return by_block_.size(); }

 private:
  struct Key {
    EntryId parent = kRoot;
    std::string salt;
    std::vector<int32_t> tokens;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& key) const;
  };
  static Key make_key(EntryId parent, std::string_view salt, std::span<const int32_t> tokens);

  std::unordered_map<Key, Entry, Hash> entries_;
  std::unordered_map<BlockId, const Key*> by_block_;  // keys of an unordered_map stay where they are
  EntryId next_ = kRoot + 1;
};

}  // namespace lathe::llm
