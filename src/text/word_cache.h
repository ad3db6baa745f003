// Remembers the ids of words: texts repeat their words, so most words cost one look-up. Each slot holds the last word
// that fell into it; short words with few ids only, two cache lines each. Not for use by several threads at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace lathe::text {

class WordCache {
 public:
  static constexpr size_t kLongestWord = 62, kMostIds = 16;

  WordCache() : slots_(kSlots) {}

  // Appends the ids of `word` if it is known. Needs 0 < word.size() <= kLongestWord.
  bool find(std::string_view word, std::vector<TokenId>& ids) const {
    const Slot& slot = slots_[slot_of(word)];
    if (slot.length != word.size() || std::memcmp(slot.word, word.data(), word.size()) != 0) return false;
    ids.insert(ids.end(), slot.ids, slot.ids + slot.count);
    return true;
  }

  // Ids must fit 32 bits. More than kMostIds are not remembered.
  void insert(std::string_view word, std::span<const TokenId> ids) {
    if (ids.size() > kMostIds) return;
    Slot& slot = slots_[slot_of(word)];
    slot.length = static_cast<uint8_t>(word.size());
    slot.count = static_cast<uint8_t>(ids.size());
    std::memcpy(slot.word, word.data(), word.size());
    for (size_t i = 0; i < ids.size(); ++i) slot.ids[i] = static_cast<uint32_t>(ids[i]);
  }

 private:
  static constexpr size_t kSlots = size_t{1} << 14;
  struct alignas(128) Slot {
    uint32_t ids[kMostIds];
    uint8_t length, count;  // length 0: empty
    char word[kLongestWord];
  };

  static size_t slot_of(std::string_view word) {
    uint64_t hash = word.size();
    for (size_t i = 0; i < word.size(); i += 8) {
      uint64_t chunk = 0;
      std::memcpy(&chunk, word.data() + i, word.size() - i < 8 ? word.size() - i : 8);
      hash = (hash ^ chunk) * 0x9E3779B97F4A7C15u;
      hash ^= hash >> 32;
    }
    return hash % kSlots;
  }

  std::vector<Slot> slots_;
};

}  // namespace lathe::text
