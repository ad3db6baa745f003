// The state of a launch while it runs: a block with its shared memory and barriers, and its warps with their registers.
//
// Lanes of a warp that are at the same instruction run together. Where they part, the group with the lowest program
// counter goes first, so that groups meet again where their paths join. An instruction that wants lanes together waits
// for those that are on their way to it.
#pragma once

#include <bit>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/backends/cuda/emulator/device_memory.h"
#include "tests/backends/cuda/emulator/program.h"
#include "tests/backends/cuda/emulator/racecheck.h"

namespace lathe::emulator {

// What a kernel did that it must not do. `code` is the driver's number for it.
struct Fault {
  int code;
  std::string what;
  int lane = -1;  // one that did it, if that is known
};
inline constexpr int kIllegalAddress = 700, kLaunchTimeout = 702, kIllegalInstruction = 715, kMisalignedAddress = 716,
                     kLaunchFailed = 719;

// What one lane has of a T in a row.
template <class T>
using Slot = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <class T>
T from_slot(Slot<T> bits) {
  if constexpr (std::is_floating_point_v<T>)
    return std::bit_cast<T>(bits);
  else
    return static_cast<T>(bits);
}
template <class T>
Slot<T> to_slot(T value) {
  if constexpr (std::is_floating_point_v<T>)
    return std::bit_cast<Slot<T>>(value);
  else
    return static_cast<Slot<T>>(value);  // with its sign
}

template <class T>
struct Lanes {
  const Slot<T>* slots;
  T operator[](int lane) const { return from_slot<T>(slots[lane]); }
};

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  unsigned volume() const { return x * y * z; }
};

struct Launch {
  const Kernel* kernel = nullptr;
  Dim3 grid, block;
  size_t shared_bytes = 0;  // the kernel's own included
  std::vector<std::byte> params;
};

class Block;

class Warp {
 public:
  enum class State : uint8_t { ready, at_barrier, done };

  Warp(Block& block, int index);
  void start();  // again, for the next block
  // Until it has to wait, is done, or has run for long enough to let others go on.
  void run();

  template <class T>
  Lanes<T> lanes(int32_t operand) const {
    return {reinterpret_cast<const Slot<T>*>(operand >= 0 ? rows_ + static_cast<size_t>(operand) * kRowBytes
                                                          : constants_ + static_cast<size_t>(~operand) * kRowBytes)};
  }
  template <class T>
  T uniform(int32_t operand) const {  // of the first lane that takes part
    return lanes<T>(operand)[std::countr_zero(exec_)];
  }
  template <class T>
  void write(int32_t operand, const Slot<T> (&values)[kLanes]) {
    auto* const to = reinterpret_cast<Slot<T>*>(rows_ + static_cast<size_t>(operand) * kRowBytes);
    if (exec_ == kAllLanes)
      std::memcpy(to, values, sizeof(values));
    else
      for (int lane = 0; lane < kLanes; ++lane) to[lane] = exec_ >> lane & 1 ? values[lane] : to[lane];
  }
  uint32_t predicate(int32_t operand) const { return predicates_[operand]; }
  void write_predicate(int32_t operand, uint32_t lanes) {
    predicates_[operand] = (predicates_[operand] & ~exec_) | (lanes & exec_);
  }

  uint32_t exec() const { return exec_; }      // the lanes that take part in the instruction
  uint32_t active() const { return active_; }  // those that are at it, whatever its guard says
  uint32_t live() const { return live_; }      // those that have not returned
  int index() const { return index_; }
  Block& block() { return block_; }
  std::byte* local() { return local_.data(); }
  State state() const { return state_; }
  void release() { state_ = State::ready; }

  // ---- control flow ----
  void branch(uint32_t taken, uint32_t target);
  void branch_each(const std::array<uint32_t, kLanes>& targets);
  void leave(uint32_t lanes);
  // Waits for `lanes` (those that have returned are not waited for). False: the instruction runs again once they are
  // here.
  bool gather(uint32_t lanes);
  void stop_at_barrier() { state_ = State::at_barrier; }

  // ---- copies in the background: groups of them arrive when they are waited for, not before ----
  struct Copy {
    std::byte* to;
    const std::byte* from;
    uint8_t bytes, read;  // the rest is zero
  };
  void copy_later(const Copy& copy) { copies_.push_back(copy); }
  void end_group() { group_ends_.push_back(copies_.size()); }
  void wait_for_groups(size_t left);
  void wait_for_copies();

 private:
  struct Group {
    uint32_t pc, lanes;
    bool waits = false;  // for others to come to where it is
  };
  void regroup();
  void step();
  std::string where(int lane) const;

  Block& block_;
  int index_;
  State state_ = State::done;
  std::byte* rows_ = nullptr;
  const std::byte* constants_ = nullptr;
  uint32_t* predicates_ = nullptr;
  uint32_t exec_ = 0, active_ = 0, live_ = 0, pc_ = 0;
  uint32_t others_pc_ = ~0U;  // the lowest of the groups that stand back and do not wait
  std::vector<Group> others_;
  std::vector<std::byte> storage_, local_;
  std::vector<uint32_t> predicate_storage_;
  std::vector<Copy> copies_;
  std::vector<size_t> group_ends_;
};

// One block at a time; its memory serves the next one.
class Block {
 public:
  explicit Block(const Launch& launch);
  void run(uint64_t index);  // throws Fault

  const Launch& launch() const { return launch_; }
  Dim3 index() const { return index_; }
  std::span<std::byte> shared() { return shared_; }
  Racecheck& races() { return races_; }
  uint64_t instructions = 0;  // that warps have run

  // At a barrier of so many threads, -1 for all; the warp stops there until the others have come, if it waits.
  void arrive(Warp& warp, int barrier, int threads, bool waits);
  void on_return();  // of a warp: others need not wait for it

  // Whether [begin, end) lies in one allocation of global memory.
  bool is_global(uint64_t begin, uint64_t end);

 private:
  struct Barrier {
    int arrived = 0, expected = 0;  // warps; -1: all that have not returned
    std::vector<Warp*> waiting;
  };
  void open_if_complete(Barrier& barrier);
  int live_warps() const;

  const Launch& launch_;
  Dim3 index_;
  std::vector<std::byte> shared_;
  std::vector<Warp> warps_;
  std::array<Barrier, 16> barriers_;
  Racecheck races_;
  Extent known_;  // of the last access: most accesses of an instruction fall into one allocation
};

// Runs all blocks, on as many threads as there are processors; what goes wrong first, if anything.
std::optional<Fault> run_launch(const Launch& launch, uint64_t& instructions);

}  // namespace lathe::emulator
