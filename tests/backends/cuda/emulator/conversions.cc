// Moves, and conversions between types.
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "tests/backends/cuda/emulator/handlers.h"
#include "tests/backends/cuda/emulator/special_registers.h"

namespace lathe::emulator {

float half_to_float(uint16_t bits) { return _cvtsh_ss(bits); }
uint16_t float_to_half(float value) {
  if (value != value) return 0x7fff;
  return static_cast<uint16_t>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

namespace {

struct Same {
  template <class T>
  T operator()(T x) const {
    return x;
  }
};
struct ToHalf {
  uint16_t operator()(float x) const { return float_to_half(x); }
};
struct FromHalf {
  float operator()(uint16_t x) const { return half_to_float(x); }
};
struct ToBfloat {
  uint16_t operator()(float x) const { return float_to_bfloat(x); }
};
struct FromBfloat {
  float operator()(uint16_t x) const { return bfloat_to_float(x); }
};
template <class Narrow>
struct ToPair {  // the first goes to the upper half
  uint32_t operator()(float high, float low) const {
    return static_cast<uint32_t>(Narrow{}(high)) << 16 | Narrow{}(low);
  }
};

enum class Rounding : uint8_t { nearest, zero, down, up };

template <Rounding R>
struct RoundTo {
  template <class T>
  T operator()(T x) const {
    switch (R) {
      case Rounding::nearest: return std::nearbyint(x);
      case Rounding::zero: return std::trunc(x);
      case Rounding::down: return std::floor(x);
      case Rounding::up: return std::ceil(x);
    }
    return x;
  }
};

// Numbers beyond the integers of the type become the nearest one; NaN becomes 0, or only the highest bit where either
// type has 64 bits.
template <class To, Rounding R>
struct ToInteger {
  template <class T>
  To operator()(T x) const {
    constexpr bool kWide = sizeof(To) == 8 || sizeof(T) == 8;
    using Limits = std::numeric_limits<To>;
    if (x != x) return kWide ? static_cast<To>(uint64_t{1} << (sizeof(To) * 8 - 1)) : To{0};
    const T rounded = RoundTo<R>{}(x);
    if (rounded <= static_cast<T>(Limits::min())) return Limits::min();
    if (rounded >= static_cast<T>(Limits::max())) return Limits::max();
    return static_cast<To>(rounded);
  }
};
template <class To, Rounding R>
struct HalfToInteger {
  To operator()(uint16_t x) const { return ToInteger<To, R>{}(half_to_float(x)); }
};
struct IntegerToHalf {
  template <class T>
  uint16_t operator()(T x) const {
    return float_to_half(static_cast<float>(x));
  }
};
template <class To>
struct Clamp {
  template <class T>
  To operator()(T x) const {
    using Limits = std::numeric_limits<To>;
    if (std::cmp_less(x, Limits::min())) return Limits::min();
    return std::cmp_greater(x, Limits::max()) ? Limits::max() : static_cast<To>(x);
  }
};

// Of a register that is wider than what is converted.
template <class From>
struct LowPart {
  From operator()(uint64_t x) const { return static_cast<From>(x); }
};

// `To` of 8 bits are kept with their sign in wider registers; what converts from or to 64 bits wants such registers.
template <class To, class From>
void add_integer_cast(OpcodeTable& table) {
  const std::string types = "." + type_name<To>() + "." + type_name<From>();
  add_map<Same, To, From>(table, "cvt" + types);
  add_map<Clamp<To>, To, From>(table, "cvt.sat" + types);
  if constexpr (sizeof(From) < 8) add_map<LowPart<From>, To, uint64_t>(table, "cvt" + types + kWideRegisters);
}

template <class F, template <class, Rounding> class Cast, class I>
void add_to_integer(OpcodeTable& table, const std::string& types) {
  for (const char* saturated : {"", ".sat"}) {  // they always are
    add_map<Cast<I, Rounding::nearest>, I, F>(table, "cvt.rni" + std::string(saturated) + types);
    add_map<Cast<I, Rounding::zero>, I, F>(table, "cvt.rzi" + std::string(saturated) + types);
    add_map<Cast<I, Rounding::down>, I, F>(table, "cvt.rmi" + std::string(saturated) + types);
    add_map<Cast<I, Rounding::up>, I, F>(table, "cvt.rpi" + std::string(saturated) + types);
  }
}

template <class I>
void add_integer_and_floats(OpcodeTable& table) {
  const std::string name = type_name<I>();
  add_map<Same, float, I>(table, "cvt.f32." + name);
  add_map<Same, double, I>(table, "cvt.f64." + name);
  add_map<IntegerToHalf, uint16_t, I>(table, "cvt.f16." + name);
  add_to_integer<float, ToInteger, I>(table, "." + name + ".f32");
  add_to_integer<double, ToInteger, I>(table, "." + name + ".f64");
  add_to_integer<uint16_t, HalfToInteger, I>(table, "." + name + ".f16");
}

template <class T>
void add_float_roundings(OpcodeTable& table) {
  const std::string types = "." + type_name<T>() + "." + type_name<T>();
  add_map<RoundTo<Rounding::nearest>, T, T>(table, "cvt.rni" + types);
  add_map<RoundTo<Rounding::zero>, T, T>(table, "cvt.rzi" + types);
  add_map<RoundTo<Rounding::down>, T, T>(table, "cvt.rmi" + types);
  add_map<RoundTo<Rounding::up>, T, T>(table, "cvt.rpi" + types);
}

// ---- moves ----

// A register taken apart into equal parts, or made of them; the first is the lowest.
template <class Whole, class Part, int Count>
void unpack(Warp& warp, const Instr& instr) {
  const auto whole = warp.lanes<Whole>(instr.operands[Count]);
  Slot<Part> parts[Count][kLanes];  // before any is written: the source may be among them
  for (int part = 0; part < Count; ++part)
    for (int lane = 0; lane < kLanes; ++lane)
      parts[part][lane] = static_cast<Part>(whole[lane] >> part * static_cast<int>(sizeof(Part) * 8));
  for (int part = 0; part < Count; ++part) warp.write<Part>(instr.operands[part], parts[part]);
}
template <class Whole, class Part, int Count>
void pack(Warp& warp, const Instr& instr) {
  Slot<Whole> whole[kLanes] = {};
  for (int part = 0; part < Count; ++part) {
    const auto values = warp.lanes<Part>(instr.operands[part + 1]);
    for (int lane = 0; lane < kLanes; ++lane)
      whole[lane] |= Slot<Whole>{values[lane]} << part * static_cast<int>(sizeof(Part) * 8);
  }
  warp.write<Whole>(instr.operands[0], whole);
}

uint32_t value_of(Special special, const Warp& warp, const Block& block, unsigned lane) {
  const Launch& launch = block.launch();
  const unsigned thread = static_cast<unsigned>(warp.index()) * kLanes + lane, bit = 1U << lane;
  switch (special) {
    case Special::tid_x: return thread % launch.block.x;
    case Special::tid_y: return thread / launch.block.x % launch.block.y;
    case Special::tid_z: return thread / launch.block.x / launch.block.y;
    case Special::ntid_x: return launch.block.x;
    case Special::ntid_y: return launch.block.y;
    case Special::ntid_z: return launch.block.z;
    case Special::ctaid_x: return block.index().x;
    case Special::ctaid_y: return block.index().y;
    case Special::ctaid_z: return block.index().z;
    case Special::nctaid_x: return launch.grid.x;
    case Special::nctaid_y: return launch.grid.y;
    case Special::nctaid_z: return launch.grid.z;
    case Special::laneid: return lane;
    case Special::lanemask_eq: return bit;
    case Special::lanemask_lt: return bit - 1;
    case Special::lanemask_le: return bit | (bit - 1);
    case Special::lanemask_gt: return ~(bit | (bit - 1));
    case Special::lanemask_ge: return ~(bit - 1);
    case Special::clock: return static_cast<uint32_t>(std::chrono::steady_clock::now().time_since_epoch().count());
    case Special::none: break;
  }
  return 0;
}

void move_special(Warp& warp, const Instr& instr) {
  uint32_t values[kLanes];
  for (unsigned lane = 0; lane < kLanes; ++lane)
    values[lane] = value_of(static_cast<Special>(instr.operands[1]), warp, warp.block(), lane);
  warp.write<uint32_t>(instr.operands[0], values);
}

// Generic addresses have the number of their window in the upper byte.
template <uint64_t Window>
struct IntoWindow {
  uint64_t operator()(uint64_t address) const { return address | Window; }
};
template <uint64_t Window>
struct OutOfWindow {
  uint64_t operator()(uint64_t address) const { return address & ~Window; }
};

template <uint64_t Window>
void add_window(OpcodeTable& table, const std::string& space) {
  add_map<IntoWindow<Window>, uint64_t, uint64_t>(table, "cvta." + space + ".u64");
  add_map<OutOfWindow<Window>, uint64_t, uint64_t>(table, "cvta.to." + space + ".u64");
}

}  // namespace

void add_conversions(OpcodeTable& table) {
  for_types<int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t>([&]<class To>(To) {
    for_types<int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t>(
        [&]<class From>(From) { add_integer_cast<To, From>(table); });
    add_integer_and_floats<To>(table);
  });
  add_float_roundings<float>(table);
  add_float_roundings<double>(table);
  add_map<Same, float, double>(table, "cvt.f32.f64");
  add_map<Same, double, float>(table, "cvt.f64.f32");
  add_map<ToHalf, uint16_t, float>(table, "cvt.f16.f32");
  add_map<FromHalf, float, uint16_t>(table, "cvt.f32.f16");
  add_map<ToBfloat, uint16_t, float>(table, "cvt.bf16.f32");
  add_map<FromBfloat, float, uint16_t>(table, "cvt.f32.bf16");
  add_map<ToPair<ToHalf>, uint32_t, float, float>(table, "cvt.f16x2.f32");
  add_map<ToPair<ToBfloat>, uint32_t, float, float>(table, "cvt.bf16x2.f32");

  for (const char* type : {"b8", "u8", "s8", "b16", "u16", "s16", "b32", "u32", "s32", "f32", "f16"})
    add_map<Same, uint32_t, uint32_t>(table, std::string("mov.") + type);
  for (const char* type : {"b64", "u64", "s64", "f64"})
    add_map<Same, uint64_t, uint64_t>(table, std::string("mov.") + type);
  table["mov.b32.unpack2"] = {unpack<uint32_t, uint16_t, 2>, "444"};
  table["mov.b64.unpack2"] = {unpack<uint64_t, uint32_t, 2>, "448"};
  table["mov.b64.unpack4"] = {unpack<uint64_t, uint16_t, 4>, "44448"};
  table["mov.b32.pack2"] = {pack<uint32_t, uint16_t, 2>, "444"};
  table["mov.b64.pack2"] = {pack<uint64_t, uint32_t, 2>, "844"};
  table["mov.b64.pack4"] = {pack<uint64_t, uint16_t, 4>, "84444"};
  table["mov.b16.unpack2"] = {unpack<uint16_t, uint8_t, 2>, "444"};
  table["mov.b16.pack2"] = {pack<uint16_t, uint8_t, 2>, "444"};
  table["mov.u32.special"] = {move_special, "4s"};
  add_window<kSharedWindow>(table, "shared");
  add_window<kLocalWindow>(table, "local");
  add_window<kParamWindow>(table, "param");
  add_window<0>(table, "global");
  add_window<0>(table, "const");
}

}  // namespace lathe::emulator
