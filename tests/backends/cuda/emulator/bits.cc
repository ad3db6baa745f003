// Logic, shifts, fields of bits, and choices.
#include <algorithm>

#include "tests/backends/cuda/emulator/handlers.h"

namespace lathe::emulator {
namespace {

#define OPERATION(Name, parameters, expression) \
  struct Name {                                 \
    template <class T>                          \
    T operator() parameters const {             \
      return static_cast<T>(expression);        \
    }                                           \
  };
OPERATION(And, (T a, T b), a& b)
OPERATION(Or, (T a, T b), a | b)
OPERATION(Xor, (T a, T b), a ^ b)
OPERATION(Not, (T a), ~a)
OPERATION(ShiftLeft, (T a, uint32_t by), by >= sizeof(T) * 8 ? T{0} : a << by)
OPERATION(ShiftRight, (T a, uint32_t by), a >> std::min<uint32_t>(by, sizeof(T) * 8 - 1) >> (by >= sizeof(T) * 8))
#undef OPERATION

struct Popc {
  template <class T>
  uint32_t operator()(T a) const {
    return static_cast<uint32_t>(std::popcount(a));
  }
};
struct Clz {
  template <class T>
  uint32_t operator()(T a) const {
    return static_cast<uint32_t>(std::countl_zero(a));
  }
};
// The place of the highest bit that is one (of negative numbers, zero), or how far it is from the top; -1 without any.
template <bool Shift>
struct Bfind {
  template <class T>
  uint32_t operator()(T a) const {
    using U = std::make_unsigned_t<T>;
    const auto bits = static_cast<U>(std::is_signed_v<T> && a < 0 ? ~a : a);
    if (bits == 0) return ~0U;
    const auto zeros = static_cast<uint32_t>(std::countl_zero(bits));
    return Shift ? zeros : static_cast<uint32_t>(sizeof(T) * 8 - 1) - zeros;
  }
};
struct Brev {
  template <class T>
  T operator()(T a) const {
    T result = 0;
    for (size_t i = 0; i < sizeof(T) * 8; ++i) result |= (a >> i & 1) << (sizeof(T) * 8 - 1 - i);
    return result;
  }
};
// `length` bits from `begin` on, with the sign of the last where T has one.
struct Bfe {
  template <class T>
  T operator()(T a, uint32_t begin, uint32_t length) const {
    constexpr uint32_t kBits = sizeof(T) * 8;
    begin &= 0xff, length &= 0xff;
    if (length == 0) return 0;
    const T sign = std::is_signed_v<T> && a < 0 ? ~T{0} : T{0};
    const T moved = begin >= kBits ? sign : static_cast<T>(a >> begin);
    if (begin + length >= kBits) return moved;
    return static_cast<T>(static_cast<Slot<T>>(moved) << (kBits - length)) >> (kBits - length);
  }
};
// The low bits of a at a place in b.
struct Bfi {
  template <class T>
  T operator()(T a, T b, uint32_t begin, uint32_t length) const {
    constexpr uint32_t kBits = sizeof(T) * 8;
    begin &= 0xff, length &= 0xff;
    if (begin >= kBits || length == 0) return b;
    const T mask = (length >= kBits ? ~T{0} : (T{1} << length) - 1) << begin;
    return (a << begin & mask) | (b & ~mask);
  }
};
// Of the bytes of b and a, counted from the lowest of a, those that four digits name; the eighth's bit asks for the
// sign.
struct Prmt {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t selector) const {
    const uint64_t bytes = a | uint64_t{b} << 32;
    uint32_t result = 0;
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t digit = selector >> i * 4;
      auto byte = static_cast<uint32_t>(bytes >> (digit & 7) * 8 & 0xff);
      if ((digit & 8) != 0) byte = byte >> 7 ? 0xff : 0;
      result |= byte << i * 8;
    }
    return result;
  }
};
struct Lop3 {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c, uint32_t table) const {
    uint32_t result = 0;
    for (uint32_t row = 0; row < 8; ++row)
      if (table >> row & 1) result |= (row & 4 ? a : ~a) & (row & 2 ? b : ~b) & (row & 1 ? c : ~c);
    return result;
  }
};
template <bool Left, bool Wrap>
struct Funnel {
  uint32_t operator()(uint32_t low, uint32_t high, uint32_t by) const {
    by = Wrap ? by & 31 : std::min(by, 32U);
    const uint64_t both = low | uint64_t{high} << 32;
    return static_cast<uint32_t>(Left ? both << by >> 32 : both >> by);
  }
};
template <class A, class B>
struct Dp4a {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t sum) const {
    for (int i = 0; i < 32; i += 8)
      sum += static_cast<uint32_t>(int{static_cast<A>(a >> i)} * int{static_cast<B>(b >> i)});
    return sum;
  }
};

template <class T>
void select(Warp& warp, const Instr& instr) {
  const auto yes = warp.lanes<T>(instr.operands[1]), no = warp.lanes<T>(instr.operands[2]);
  const uint32_t choice = warp.predicate(instr.operands[3]);
  Slot<T> results[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) results[lane] = choice >> lane & 1 ? yes.slots[lane] : no.slots[lane];
  warp.write<T>(instr.operands[0], results);
}

template <class T>
void add_bits(OpcodeTable& table) {
  const std::string type = ".b" + std::to_string(sizeof(T) * 8);
  add_map<And, T, T, T>(table, "and" + type);
  add_map<Or, T, T, T>(table, "or" + type);
  add_map<Xor, T, T, T>(table, "xor" + type);
  add_map<Not, T, T>(table, "not" + type);
  add_map<ShiftLeft, T, T, uint32_t>(table, "shl" + type);
  add_map<ShiftRight, T, T, uint32_t>(table, "shr" + type);
  if constexpr (sizeof(T) >= 4) {
    add_map<Popc, uint32_t, T>(table, "popc" + type);
    add_map<Clz, uint32_t, T>(table, "clz" + type);
    add_map<Brev, T, T>(table, "brev" + type);
    add_map<Bfi, T, T, T, uint32_t, uint32_t>(table, "bfi" + type);
  }
}

template <class T>
void add_numbers(OpcodeTable& table) {
  const std::string type = "." + type_name<T>();
  add_map<ShiftRight, T, T, uint32_t>(table, "shr" + type);
  if constexpr (sizeof(T) >= 4) {
    add_map<Bfe, T, T, uint32_t, uint32_t>(table, "bfe" + type);
    add_map<Bfind<false>, uint32_t, T>(table, "bfind" + type);
    add_map<Bfind<true>, uint32_t, T>(table, "bfind.shiftamt" + type);
  }
}

template <class F>
void combine_predicates(Warp& warp, const Instr& instr) {
  warp.write_predicate(instr.operands[0], F{}(warp.predicate(instr.operands[1]), warp.predicate(instr.operands[2])));
}

}  // namespace

void add_bit_operations(OpcodeTable& table) {
  for_types<uint16_t, uint32_t, uint64_t>([&]<class T>(T) { add_bits<T>(table); });
  for_types<int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t>([&]<class T>(T) { add_numbers<T>(table); });
  add_map<Prmt, uint32_t, uint32_t, uint32_t, uint32_t>(table, "prmt.b32");
  add_map<Lop3, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t>(table, "lop3.b32");
  add_map<Funnel<true, true>, uint32_t, uint32_t, uint32_t, uint32_t>(table, "shf.l.wrap.b32");
  add_map<Funnel<true, false>, uint32_t, uint32_t, uint32_t, uint32_t>(table, "shf.l.clamp.b32");
  add_map<Funnel<false, true>, uint32_t, uint32_t, uint32_t, uint32_t>(table, "shf.r.wrap.b32");
  add_map<Funnel<false, false>, uint32_t, uint32_t, uint32_t, uint32_t>(table, "shf.r.clamp.b32");
  add_map<Dp4a<int8_t, int8_t>, uint32_t, uint32_t, uint32_t, uint32_t>(table, "dp4a.s32.s32");
  add_map<Dp4a<uint8_t, int8_t>, uint32_t, uint32_t, uint32_t, uint32_t>(table, "dp4a.u32.s32");
  add_map<Dp4a<int8_t, uint8_t>, uint32_t, uint32_t, uint32_t, uint32_t>(table, "dp4a.s32.u32");
  add_map<Dp4a<uint8_t, uint8_t>, uint32_t, uint32_t, uint32_t, uint32_t>(table, "dp4a.u32.u32");
  for (const char* type : {"b16", "u16", "s16", "b32", "u32", "s32", "f32"})
    table[std::string("selp.") + type] = {select<uint32_t>, "4441"};
  for (const char* type : {"b64", "u64", "s64", "f64"}) table[std::string("selp.") + type] = {select<uint64_t>, "8881"};
  table["and.pred"] = {combine_predicates<And>, "111"};
  table["or.pred"] = {combine_predicates<Or>, "111"};
  table["xor.pred"] = {combine_predicates<Xor>, "111"};
  table["not.pred"] = {[](Warp& warp, const Instr& instr) {
                         warp.write_predicate(instr.operands[0], ~warp.predicate(instr.operands[1]));
                       },
                       "11"};
  table["mov.pred"] = {[](Warp& warp, const Instr& instr) {
                         warp.write_predicate(instr.operands[0], warp.predicate(instr.operands[1]));
                       },
                       "11"};
}

}  // namespace lathe::emulator
