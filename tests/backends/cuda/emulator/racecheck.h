// Finds races in shared memory: two warps that touch the same bytes between barriers, at least one of them writing.
// Atomics race with ordinary accesses only. Barriers of all warps count; where a kernel uses others, it is not checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lathe::emulator {

class Racecheck {
 public:
  enum class Access : uint8_t { read, write, atomic };

  // `grain`: of the smallest access that there may be.
  Racecheck(size_t bytes, size_t grain) : grain_(grain), words_((bytes + grain - 1) / grain) {}
  void barrier() { ++epoch_; }
  void switch_off() { off_ = true; }
  // The warp that this access races with, or -1.
  int touch(uint64_t at, size_t bytes, int warp, Access access) {
    if (off_) return -1;
    for (uint64_t word = at / grain_; word <= (at + bytes - 1) / grain_; ++word)
      if (const int other = touch_word(words_[word], warp, access); other >= 0) return other;
    return -1;
  }

 private:
  // Since the barrier `epoch`: a warp that accessed the word in each way, and whether others read it as well.
  struct Word {
    uint32_t epoch = 0;
    int8_t writer = -1, reader = -1, atomic = -1;
    bool read_by_others = false;
  };

  int touch_word(Word& word, int warp, Access access) {
    if (word.epoch != epoch_) word = {epoch_};
    const auto is_other = [&](int8_t who) { return who >= 0 && who != warp; };
    if (is_other(word.writer)) return word.writer;
    if (access != Access::atomic && is_other(word.atomic)) return word.atomic;
    if (access != Access::read && (is_other(word.reader) || word.read_by_others)) return word.reader;
    const auto who = static_cast<int8_t>(warp);
    if (access == Access::write) word.writer = who;
    if (access == Access::atomic) word.atomic = who;
    if (access == Access::read) {
      word.read_by_others |= is_other(word.reader);
      word.reader = who;
    }
    return -1;
  }

  uint32_t epoch_ = 1;
  bool off_ = false;
  size_t grain_;
  std::vector<Word> words_;
};

}  // namespace lathe::emulator
