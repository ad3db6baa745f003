// Branches, barriers, and what lanes of a warp tell each other.
#include <algorithm>

#include "tests/backends/cuda/emulator/handlers.h"

namespace lathe::emulator {
namespace {

void branch(Warp& warp, const Instr& instr) { warp.branch(warp.exec(), static_cast<uint32_t>(instr.offsets[0])); }

void branch_indirect(Warp& warp, const Instr& instr) {
  const auto& table = warp.block().launch().kernel->tables[static_cast<size_t>(instr.offsets[0])];
  const auto choice = warp.lanes<uint32_t>(instr.operands[0]);
  std::array<uint32_t, kLanes> targets = {};
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((warp.exec() >> lane & 1) == 0) continue;
    if (choice[lane] >= table.size()) throw Fault{kIllegalInstruction, "a branch beyond its table", lane};
    targets[static_cast<size_t>(lane)] = table[choice[lane]];
  }
  warp.branch_each(targets);
}

void leave(Warp& warp, const Instr&) { warp.leave(warp.exec()); }

// Barriers of blocks: all lanes of a warp come together.
template <bool Waits>
void barrier(Warp& warp, const Instr& instr) {
  if (!warp.gather(kAllLanes)) return;
  const int threads = warp.uniform<int32_t>(instr.operands[1]);
  warp.block().arrive(warp, warp.uniform<int32_t>(instr.operands[0]), threads, Waits);
}

void warp_barrier(Warp& warp, const Instr& instr) { warp.gather(warp.uniform<uint32_t>(instr.operands[0])); }

// ---- shuffles ----

enum class Shuffle : uint8_t { up, down, butterfly, index };

// As PTX ISA defines it: the third operand has the highest lane to read from (the lowest, going up), and from its bit 8
// on the bits of the lane's number that stay.
template <Shuffle S>
void shuffle(Warp& warp, const Instr& instr) {
  if (!warp.gather(warp.uniform<uint32_t>(instr.operands[5]))) return;
  const auto source = warp.lanes<uint32_t>(instr.operands[2]), by = warp.lanes<uint32_t>(instr.operands[3]),
             control = warp.lanes<uint32_t>(instr.operands[4]);
  uint32_t values[kLanes] = {}, inside = 0;
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    const int at = static_cast<int>(lane);
    const uint32_t segment = control[at] >> 8 & 31, clamp = control[at] & 31, distance = by[at] & 31;
    const uint32_t first = lane & segment, last = first | (clamp & ~segment);
    uint32_t from = 0;
    bool valid = false;
    switch (S) {
      case Shuffle::up:
        from = lane - distance;
        valid = static_cast<int32_t>(from) >= static_cast<int32_t>(last);
        break;
      case Shuffle::down:
        from = lane + distance;
        valid = from <= last;
        break;
      case Shuffle::butterfly:
        from = lane ^ distance;
        valid = from <= last;
        break;
      case Shuffle::index:
        from = first | (distance & ~segment);
        valid = from <= last;
        break;
    }
    if (!valid) from = lane;
    inside |= static_cast<uint32_t>(valid) << lane;
    if ((warp.exec() >> lane & 1) != 0 && (warp.exec() >> from & 1) == 0)
      throw Fault{kLaunchFailed, "a shuffle reads lane " + std::to_string(from) + ", which takes no part", at};
    values[lane] = source[static_cast<int>(from)];
  }
  warp.write<uint32_t>(instr.operands[0], values);
  warp.write_predicate(instr.operands[1], inside);
}

// ---- votes ----

void write_all(Warp& warp, int32_t operand, uint32_t value) {
  uint32_t values[kLanes];
  std::ranges::fill(values, value);
  warp.write<uint32_t>(operand, values);
}

void ballot(Warp& warp, const Instr& instr) {
  const auto members = warp.uniform<uint32_t>(instr.operands[2]);
  if (warp.gather(members))
    write_all(warp, instr.operands[0], warp.predicate(instr.operands[1]) & warp.exec() & members);
}

template <bool Any, bool All>
void vote(Warp& warp, const Instr& instr) {
  const auto members = warp.uniform<uint32_t>(instr.operands[2]);
  if (!warp.gather(members)) return;
  const uint32_t asked = members & warp.exec(), yes = warp.predicate(instr.operands[1]) & asked;
  const bool result = (Any && yes != 0) || (All && yes == asked) || (!Any && !All && (yes == 0 || yes == asked));
  warp.write_predicate(instr.operands[0], result ? kAllLanes : 0);
}

template <class T>
void match_any(Warp& warp, const Instr& instr) {
  const auto members = warp.uniform<uint32_t>(instr.operands[2]);
  if (!warp.gather(members)) return;
  const auto value = warp.lanes<T>(instr.operands[1]);
  uint32_t same[kLanes] = {};
  for (int lane = 0; lane < kLanes; ++lane)
    for (int other = 0; other < kLanes; ++other)
      if (((warp.exec() & members) >> other & 1) != 0 && value[lane] == value[other]) same[lane] |= 1U << other;
  warp.write<uint32_t>(instr.operands[0], same);
}

template <class T, class F>
void reduce(Warp& warp, const Instr& instr) {
  const auto members = warp.uniform<uint32_t>(instr.operands[2]);
  if (!warp.gather(members)) return;
  const auto value = warp.lanes<T>(instr.operands[1]);
  const uint32_t lanes = members & warp.exec();
  T result = value[std::countr_zero(lanes)];
  for (int lane = std::countr_zero(lanes) + 1; lane < kLanes; ++lane)
    if ((lanes >> lane & 1) != 0) result = F{}(result, value[lane]);
  write_all(warp, instr.operands[0], to_slot<T>(result));
}

struct Plus {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(to_slot(a) + to_slot(b));
  }
};
struct Least {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Largest {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};

}  // namespace

void add_warp_operations(OpcodeTable& table) {
  table["bra"] = {branch, "l"};
  table["brx.idx"] = {branch_indirect, "4t"};
  table["ret"] = table["exit"] = {leave, ""};
  table["trap"] = {[](Warp&, const Instr&) { throw Fault{kLaunchFailed, "the kernel has stopped itself (trap)"}; }, ""};
  table["bar"] = table["barrier"] = {barrier<true>, "4?4"};
  table["bar.arrive"] = table["barrier.arrive"] = {barrier<false>, "44"};
  table["bar.warp"] = {warp_barrier, "4"};
  table["shfl.up.b32"] = {shuffle<Shuffle::up>, "414444"};
  table["shfl.down.b32"] = {shuffle<Shuffle::down>, "414444"};
  table["shfl.bfly.b32"] = {shuffle<Shuffle::butterfly>, "414444"};
  table["shfl.idx.b32"] = {shuffle<Shuffle::index>, "414444"};
  table["vote.ballot.b32"] = {ballot, "414"};
  table["vote.any.pred"] = {vote<true, false>, "114"};
  table["vote.all.pred"] = {vote<false, true>, "114"};
  table["vote.uni.pred"] = {vote<false, false>, "114"};
  table["match.any.b32"] = {match_any<uint32_t>, "444"};
  table["match.any.b64"] = {match_any<uint64_t>, "484"};
  table["activemask.b32"] = {[](Warp& warp, const Instr& instr) { write_all(warp, instr.operands[0], warp.exec()); },
                             "4"};
  for_types<int32_t, uint32_t>([&]<class T>(T) {
    table["redux.add." + type_name<T>()] = {reduce<T, Plus>, "444"};
    table["redux.min." + type_name<T>()] = {reduce<T, Least>, "444"};
    table["redux.max." + type_name<T>()] = {reduce<T, Largest>, "444"};
  });
}

// What the qualifiers of a mnemonic that mean nothing leave; "bar.sync" is "bar", "mul.rn.f32" is "mul.f32".
const OpcodeTable& opcodes() {
  static const OpcodeTable table = [] {
    OpcodeTable all;
    add_arithmetic(all);
    add_bit_operations(all);
    add_conversions(all);
    add_memory(all);
    add_warp_operations(all);
    add_matrices(all);
    return all;
  }();
  return table;
}

}  // namespace lathe::emulator
