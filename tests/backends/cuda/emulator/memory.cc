// Loads, stores, atomics and copies, each checked: inside of what the kernel may touch, and aligned.
#include <algorithm>
#include <array>

#include "tests/backends/cuda/emulator/handlers.h"

namespace lathe::emulator {
namespace {

enum class Space : uint8_t { global, shared, local, param, generic };
using Access = Racecheck::Access;
using Addresses = std::array<uint64_t, kLanes>;

Addresses addresses_of(const Warp& warp, const Instr& instr, int operand, size_t which) {
  Addresses addresses;
  const auto offset = static_cast<uint64_t>(instr.offsets[which]);
  if (instr.wide[which]) {
    const auto base = warp.lanes<uint64_t>(instr.operands[operand]);
    for (int lane = 0; lane < kLanes; ++lane) addresses[static_cast<size_t>(lane)] = base[lane] + offset;
  } else {
    const auto base = warp.lanes<uint32_t>(instr.operands[operand]);
    for (int lane = 0; lane < kLanes; ++lane)
      addresses[static_cast<size_t>(lane)] = base[lane] + static_cast<uint32_t>(offset);
  }
  return addresses;
}

[[noreturn]] void bad_address(const char* space, uint64_t address, size_t bytes, int lane) {
  char number[32];
  std::snprintf(number, sizeof(number), "0x%llx", static_cast<unsigned long long>(address));
  throw Fault{kIllegalAddress, "access to " + std::to_string(bytes) + " bytes at " + number + ", outside of " + space,
              lane};
}

std::byte* host(uint64_t address) {
  return reinterpret_cast<std::byte*>(address);  // NOLINT(performance-no-int-to-ptr): what lies there is of the host
}

void check_global(Warp& warp, const Addresses& addresses, size_t bytes) {
  uint64_t lowest = ~uint64_t{0}, highest = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    const uint64_t address = addresses[static_cast<size_t>(lane)], takes_part = -uint64_t{warp.exec() >> lane & 1};
    lowest = std::min(lowest, address | ~takes_part);
    highest = std::max(highest, address & takes_part);
  }
  if (warp.block().is_global(lowest, highest + bytes)) return;
  for (int lane = 0; lane < kLanes; ++lane) {
    const uint64_t address = addresses[static_cast<size_t>(lane)];
    if ((warp.exec() >> lane & 1) && !warp.block().is_global(address, address + bytes))
      bad_address("all allocations", address, bytes, lane);
  }
}

void check_alignment(const Warp& warp, const Addresses& addresses, size_t bytes) {
  uint64_t low_bits = 0;
  for (int lane = 0; lane < kLanes; ++lane)
    low_bits |= addresses[static_cast<size_t>(lane)] & -uint64_t{warp.exec() >> lane & 1};
  if ((low_bits & (bytes - 1)) == 0) return;
  for (int lane = 0; lane < kLanes; ++lane)
    if ((warp.exec() >> lane & 1) && (addresses[static_cast<size_t>(lane)] & (bytes - 1)) != 0)
      throw Fault{kMisalignedAddress, "access to " + std::to_string(bytes) + " bytes that is not aligned to them",
                  lane};
}

std::byte* shared_place(Warp& warp, uint64_t at, size_t bytes, int lane, Access access) {
  Block& block = warp.block();
  if (at > block.shared().size() || bytes > block.shared().size() - at)
    bad_address("the block's shared memory", at, bytes, lane);
  if (const int other = block.races().touch(at, bytes, warp.index(), access); other >= 0)
    throw Fault{kLaunchFailed,
                "race: since the last barrier warp " + std::to_string(other) + " has accessed shared memory at " +
                    std::to_string(at) + ", too",
                lane};
  return block.shared().data() + at;
}

std::byte* local_place(Warp& warp, uint64_t at, size_t bytes, int lane) {
  const size_t size = warp.block().launch().kernel->local_bytes;
  if (at > size || bytes > size - at) bad_address("the thread's own memory", at, bytes, lane);
  return warp.local() + static_cast<size_t>(lane) * size + at;
}

std::byte* param_place(Warp& warp, uint64_t at, size_t bytes, int lane, Access access) {
  const std::vector<std::byte>& params = warp.block().launch().params;
  if (access != Access::read || at > params.size() || bytes > params.size() - at)
    bad_address("the kernel's arguments", at, bytes, lane);
  return const_cast<std::byte*>(params.data()) + at;  // to read only
}

// Where the bytes of one lane lie.
std::byte* place_of(Space space, Warp& warp, uint64_t address, size_t bytes, int lane, Access access) {
  switch (space) {
    case Space::global: return host(address);  // checked before, for all lanes at once
    case Space::shared: return shared_place(warp, address, bytes, lane, access);
    case Space::local: return local_place(warp, address, bytes, lane);
    case Space::param: return param_place(warp, address, bytes, lane, access);
    case Space::generic: break;
  }
  const uint64_t at = address & ~kWindows;
  switch (address & kWindows) {
    case kSharedWindow: return shared_place(warp, at, bytes, lane, access);
    case kLocalWindow: return local_place(warp, at, bytes, lane);
    case kParamWindow: return param_place(warp, at, bytes, lane, access);
    default: break;
  }
  if (!warp.block().is_global(address, address + bytes)) bad_address("all allocations", address, bytes, lane);
  return host(address);
}

// The places of all lanes that take part; null for the others.
using Places = std::array<std::byte*, kLanes>;
Places places_of(Space space, Warp& warp, const Addresses& addresses, size_t bytes, Access access) {
  check_alignment(warp, addresses, bytes);
  if (space == Space::global) check_global(warp, addresses, bytes);
  Places places = {};
  for (int lane = 0; lane < kLanes; ++lane)
    if (warp.exec() >> lane & 1)
      places[static_cast<size_t>(lane)] =
          place_of(space, warp, addresses[static_cast<size_t>(lane)], bytes, lane, access);
  return places;
}
Places places_of(Warp& warp, const Instr& instr, int operand, size_t bytes, Access access) {
  return places_of(static_cast<Space>(instr.variant), warp, addresses_of(warp, instr, operand, 0), bytes, access);
}

// Values of type T, in registers that hold an R.
template <class T, class R, int Count>
void load(Warp& warp, const Instr& instr) {
  const auto places = places_of(warp, instr, Count, sizeof(T) * Count, Access::read);
  Slot<R> values[Count][kLanes] = {};
  for (size_t lane = 0; lane < kLanes; ++lane) {
    if (places[lane] == nullptr) continue;
    T elements[Count];
    std::memcpy(elements, places[lane], sizeof(elements));
    for (int i = 0; i < Count; ++i) values[i][lane] = to_slot<R>(static_cast<R>(elements[i]));
  }
  for (int i = 0; i < Count; ++i) warp.write<R>(instr.operands[i], values[i]);
}

template <class T, class R, int Count>
void store(Warp& warp, const Instr& instr) {
  const auto places = places_of(warp, instr, 0, sizeof(T) * Count, Access::write);
  for (int lane = 0; lane < kLanes; ++lane) {
    if (places[static_cast<size_t>(lane)] == nullptr) continue;
    T elements[Count];
    for (int i = 0; i < Count; ++i) elements[i] = static_cast<T>(warp.lanes<R>(instr.operands[i + 1])[lane]);
    std::memcpy(places[static_cast<size_t>(lane)], elements, sizeof(elements));
  }
}

constexpr std::pair<const char*, Space> kSpaces[] = {{"", Space::generic},      {".global", Space::global},
                                                     {".const", Space::global}, {".shared", Space::shared},
                                                     {".local", Space::local},  {".param", Space::param}};

// One mnemonic for each space; those without one have generic addresses.
void add_to_spaces(OpcodeTable& table, const std::string& operation, const std::string& rest, Handler run,
                   const std::string& signature) {
  for (const auto& [name, space] : kSpaces)
    table[operation + name + rest] = {run, signature, static_cast<uint8_t>(space)};
}

template <class T, class R>
void add_accesses(OpcodeTable& table, const std::string& type) {
  const std::string w(1, width_of<R>);
  add_to_spaces(table, "ld", "." + type, load<T, R, 1>, w + "a");
  add_to_spaces(table, "ld", ".v2." + type, load<T, R, 2>, w + w + "a");
  add_to_spaces(table, "st", "." + type, store<T, R, 1>, "a" + w);
  add_to_spaces(table, "st", ".v2." + type, store<T, R, 2>, "a" + w + w);
  if constexpr (sizeof(T) <= 4) {
    add_to_spaces(table, "ld", ".v4." + type, load<T, R, 4>, w + w + w + w + "a");
    add_to_spaces(table, "st", ".v4." + type, store<T, R, 4>, "a" + w + w + w + w);
  }
  if constexpr (sizeof(R) < 8)
    add_accesses<T, std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>(table, type + kWideRegisters);
}

// ---- atomics ----

// Other blocks run on other threads, so each is a loop around the host's compare-and-exchange.
template <class T, class F>
T update(std::byte* place, const F& f) {
  using Bits = Slot<T>;
  auto* const bits = reinterpret_cast<Bits*>(place);
  Bits old = __atomic_load_n(bits, __ATOMIC_SEQ_CST);
  while (!__atomic_compare_exchange_n(bits, &old, to_slot<T>(f(from_slot<T>(old))), false, __ATOMIC_SEQ_CST,
                                      __ATOMIC_SEQ_CST)) {
  }
  return from_slot<T>(old);
}

struct AtomicAdd {
  template <class T>
  T operator()(T old, T x) const {
    return static_cast<T>(old + x);
  }
};
struct AtomicMin {
  template <class T>
  T operator()(T old, T x) const {
    return std::min(old, x);
  }
};
struct AtomicMax {
  template <class T>
  T operator()(T old, T x) const {
    return std::max(old, x);
  }
};
struct AtomicAnd {
  template <class T>
  T operator()(T old, T x) const {
    return old & x;
  }
};
struct AtomicOr {
  template <class T>
  T operator()(T old, T x) const {
    return old | x;
  }
};
struct AtomicXor {
  template <class T>
  T operator()(T old, T x) const {
    return old ^ x;
  }
};
struct AtomicExchange {
  template <class T>
  T operator()(T, T x) const {
    return x;
  }
};
struct AtomicIncrement {  // back to 0 after the limit
  template <class T>
  T operator()(T old, T limit) const {
    return old >= limit ? T{0} : static_cast<T>(old + 1);
  }
};

// atom gives the old value, red does not.
template <class T, class F, bool Result>
void atomic(Warp& warp, const Instr& instr) {
  constexpr int kAddress = Result ? 1 : 0;
  const auto places = places_of(warp, instr, kAddress, sizeof(T), Access::atomic);
  const auto operand = warp.lanes<T>(instr.operands[kAddress + 1]);
  Slot<T> old[kLanes] = {};
  for (int lane = 0; lane < kLanes; ++lane)
    if (std::byte* const place = places[static_cast<size_t>(lane)]; place != nullptr)
      old[lane] = to_slot<T>(update<T>(place, [&](T before) { return F{}(before, operand[lane]); }));
  if constexpr (Result) warp.write<T>(instr.operands[0], old);
}

template <class T>
void compare_and_swap(Warp& warp, const Instr& instr) {
  const auto places = places_of(warp, instr, 1, sizeof(T), Access::atomic);
  const auto expected = warp.lanes<T>(instr.operands[2]), wanted = warp.lanes<T>(instr.operands[3]);
  Slot<T> old[kLanes] = {};
  for (int lane = 0; lane < kLanes; ++lane)
    if (std::byte* const place = places[static_cast<size_t>(lane)]; place != nullptr)
      old[lane] = update<T>(place, [&](T before) { return before == expected[lane] ? wanted[lane] : before; });
  warp.write<T>(instr.operands[0], old);
}

template <class T, class F>
void add_atomic(OpcodeTable& table, const std::string& operation) {
  const std::string w(1, width_of<T>);
  add_to_spaces(table, "atom", "." + operation, atomic<T, F, true>, w + "a" + w);
  add_to_spaces(table, "red", "." + operation, atomic<T, F, false>, "a" + w);
}

void add_atomics(OpcodeTable& table) {
  for_types<int32_t, uint32_t, int64_t, uint64_t, float, double>([&]<class T>(T) {
    add_atomic<T, AtomicAdd>(table, "add." + type_name<T>());
    if constexpr (std::is_integral_v<T>) {
      add_atomic<T, AtomicMin>(table, "min." + type_name<T>());
      add_atomic<T, AtomicMax>(table, "max." + type_name<T>());
    }
  });
  for_types<uint32_t, uint64_t>([&]<class T>(T) {
    const std::string type = ".b" + std::to_string(sizeof(T) * 8), w(1, width_of<T>);
    add_atomic<T, AtomicAnd>(table, "and" + type);
    add_atomic<T, AtomicOr>(table, "or" + type);
    add_atomic<T, AtomicXor>(table, "xor" + type);
    add_atomic<T, AtomicExchange>(table, "exch" + type);
    add_to_spaces(table, "atom", ".cas" + type, compare_and_swap<T>, w + "a" + w + w);
  });
  add_atomic<uint32_t, AtomicIncrement>(table, "inc.u32");
}

// ---- copies from global to shared memory in the background ----

// Bytes beyond those to read become zero. Addresses are checked now; bytes arrive when somebody waits for them.
void copy_to_shared(Warp& warp, const Instr& instr) {
  const auto bytes = warp.uniform<uint32_t>(instr.operands[2]);
  const auto read = warp.lanes<uint32_t>(instr.operands[3]);
  const Addresses from = addresses_of(warp, instr, 1, 1);
  const auto to = places_of(Space::shared, warp, addresses_of(warp, instr, 0, 0), bytes, Access::write);
  check_alignment(warp, from, bytes);
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto at = static_cast<size_t>(lane);
    if (to[at] == nullptr) continue;
    const uint32_t count = std::min(read[lane], bytes);
    if (count != 0 && !warp.block().is_global(from[at], from[at] + count))
      bad_address("all allocations", from[at], count, lane);
    warp.copy_later({to[at], host(from[at]), static_cast<uint8_t>(bytes), static_cast<uint8_t>(count)});
  }
}

void nothing(Warp&, const Instr&) {}

}  // namespace

void add_memory(OpcodeTable& table) {
  add_accesses<int8_t, int32_t>(table, "s8");
  add_accesses<int16_t, int32_t>(table, "s16");
  add_accesses<int32_t, int32_t>(table, "s32");
  for (const char* type : {"u8", "b8"}) add_accesses<uint8_t, uint32_t>(table, type);
  for (const char* type : {"u16", "b16"}) add_accesses<uint16_t, uint32_t>(table, type);
  for (const char* type : {"u32", "b32", "f32"}) add_accesses<uint32_t, uint32_t>(table, type);
  for (const char* type : {"u64", "s64", "b64", "f64"}) add_accesses<uint64_t, uint64_t>(table, type);
  add_atomics(table);
  table["cp.async.shared.global"] = {copy_to_shared, "aa4?4"};
  table["cp.async.commit_group"] = {[](Warp& warp, const Instr&) { warp.end_group(); }, ""};
  table["cp.async.wait_group"] = {
      [](Warp& warp, const Instr& instr) { warp.wait_for_groups(warp.uniform<uint32_t>(instr.operands[0])); }, "4"};
  table["cp.async.wait_all"] = {[](Warp& warp, const Instr&) { warp.wait_for_copies(); }, ""};
  for (const char* fence : {"membar", "membar.gl", "fence", "fence.sc", "fence.proxy.async"})
    table[fence] = {nothing, ""};
  table["prefetch.global.L2"] = {nothing, "a"};
}

}  // namespace lathe::emulator
