// Sums, products, functions and comparisons.
#include <algorithm>
#include <cfenv>
#include <cmath>

#include "tests/backends/cuda/emulator/handlers.h"

namespace lathe::emulator {
namespace {

__extension__ using Int128 = __int128;
__extension__ using Uint128 = unsigned __int128;

// Of twice the bits.
template <class T>
struct WideOf;
template <>
struct WideOf<int16_t> : std::type_identity<int32_t> {};
template <>
struct WideOf<uint16_t> : std::type_identity<uint32_t> {};
template <>
struct WideOf<int32_t> : std::type_identity<int64_t> {};
template <>
struct WideOf<uint32_t> : std::type_identity<uint64_t> {};
template <>
struct WideOf<int64_t> : std::type_identity<Int128> {};
template <>
struct WideOf<uint64_t> : std::type_identity<Uint128> {};
template <class T>
using Wide = typename WideOf<T>::type;

// Integers wrap around: computed without signs.
template <class T>
auto unsign(T x) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<Slot<T>>(x);
  else
    return x;
}

struct Add {
  template <class T>
  auto operator()(T a, T b) const {
    return unsign(a) + unsign(b);
  }
};
struct Sub {
  template <class T>
  auto operator()(T a, T b) const {
    return unsign(a) - unsign(b);
  }
};
struct Mul {
  template <class T>
  auto operator()(T a, T b) const {
    return unsign(a) * unsign(b);
  }
};
struct Mad {
  template <class T>
  auto operator()(T a, T b, T c) const {
    return unsign(a) * unsign(b) + unsign(c);
  }
};
struct MulHigh {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b) >> sizeof(T) * 8);
  }
};
struct MadHigh {
  template <class T>
  auto operator()(T a, T b, T c) const {
    return unsign(MulHigh{}(a, b)) + unsign(c);
  }
};
struct MulWide {
  template <class T>
  Wide<T> operator()(T a, T b) const {
    return Wide<T>{a} * Wide<T>{b};
  }
};
struct MadWide {
  template <class T>
  Wide<T> operator()(T a, T b, Wide<T> c) const {
    return static_cast<Wide<T>>(unsign(Wide<T>{a} * Wide<T>{b}) + unsign(c));
  }
};
// Division by zero gives all ones, as GPUs have it.
struct Div {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      return a / b;
    } else {
      if (b == 0) return static_cast<T>(~T{0});
      if constexpr (std::is_signed_v<T>)
        if (b == -1) return static_cast<T>(0 - unsign(a));
      return static_cast<T>(a / b);
    }
  }
};
struct Rem {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return a;
    if constexpr (std::is_signed_v<T>)
      if (b == -1) return 0;
    return static_cast<T>(a % b);
  }
};
struct Neg {
  template <class T>
  auto operator()(T a) const {
    if constexpr (std::is_floating_point_v<T>)
      return -a;
    else
      return 0 - unsign(a);
  }
};
struct Abs {
  template <class T>
  auto operator()(T a) const {
    if constexpr (std::is_floating_point_v<T>)
      return std::abs(a);
    else
      return a < 0 ? 0 - unsign(a) : unsign(a);
  }
};
// Of a number and NaN, the number; -0 is less than +0.
struct Min {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>)
      return a != a ? b : b != b ? a : a == b ? (std::signbit(a) ? a : b) : a < b ? a : b;
    else
      return a < b ? a : b;
  }
};
struct Max {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>)
      return a != a ? b : b != b ? a : a == b ? (std::signbit(a) ? b : a) : a > b ? a : b;
    else
      return a > b ? a : b;
  }
};
struct Fma {
  template <class T>
  T operator()(T a, T b, T c) const {
    return std::fma(a, b, c);
  }
};
struct CopySign {  // the sign comes first
  template <class T>
  T operator()(T sign, T size) const {
    return std::copysign(size, sign);
  }
};
struct Saturate {
  template <class T>
  T operator()(T a) const {
    return a > 0 ? (a < 1 ? a : T{1}) : T{0};
  }
};

#define FUNCTION(Name, expression) \
  struct Name {                    \
    template <class T>             \
    T operator()(T x) const {      \
      return expression;           \
    }                              \
  };
FUNCTION(Sqrt, std::sqrt(x))
FUNCTION(Reciprocal, T{1} / x)
FUNCTION(ReciprocalRoot, T{1} / std::sqrt(x))
FUNCTION(Exp2, std::exp2(x))
FUNCTION(Log2, std::log2(x))
FUNCTION(Sin, std::sin(x))
FUNCTION(Cos, std::cos(x))
FUNCTION(Tanh, std::tanh(x))
#undef FUNCTION

// A sum or product that is rounded in a direction. The barriers keep the arithmetic between the changes of mode.
template <int Mode, Handler run>
void rounded(Warp& warp, const Instr& instr) {
  const int before = std::fegetround();
  std::fesetround(Mode);
  asm volatile("" ::: "memory");
  run(warp, instr);
  asm volatile("" ::: "memory");
  std::fesetround(before);
}

template <class F, class T, class... Operands>
void add_rounded(OpcodeTable& table, const std::string& name) {
  constexpr Handler kRun = map_lanes<F, T, T, Operands...>;
  const std::string signature(sizeof...(Operands) + 2, width_of<T>), type = "." + type_name<T>();
  table[name + type] = {kRun, signature};
  table[name + ".rm" + type] = {rounded<FE_DOWNWARD, kRun>, signature};
  table[name + ".rp" + type] = {rounded<FE_UPWARD, kRun>, signature};
  table[name + ".rz" + type] = {rounded<FE_TOWARDZERO, kRun>, signature};
}

template <class T>
void add_integers(OpcodeTable& table) {
  const std::string type = "." + type_name<T>();
  add_map<Add, T, T, T>(table, "add" + type);
  add_map<Sub, T, T, T>(table, "sub" + type);
  add_map<Mul, T, T, T>(table, "mul.lo" + type);
  add_map<Mad, T, T, T, T>(table, "mad.lo" + type);
  add_map<MulHigh, T, T, T>(table, "mul.hi" + type);
  add_map<MadHigh, T, T, T, T>(table, "mad.hi" + type);
  add_map<Div, T, T, T>(table, "div" + type);
  add_map<Rem, T, T, T>(table, "rem" + type);
  add_map<Min, T, T, T>(table, "min" + type);
  add_map<Max, T, T, T>(table, "max" + type);
  if constexpr (sizeof(T) < 8) {
    add_map<MulWide, Wide<T>, T, T>(table, "mul.wide" + type);
    add_map<MadWide, Wide<T>, T, T, Wide<T>>(table, "mad.wide" + type);
  }
  if constexpr (std::is_signed_v<T>) {
    add_map<Neg, T, T>(table, "neg" + type);
    add_map<Abs, T, T>(table, "abs" + type);
  }
}

template <class T>
void add_floats(OpcodeTable& table) {
  const std::string type = "." + type_name<T>();
  add_rounded<Add, T, T>(table, "add");
  add_rounded<Sub, T, T>(table, "sub");
  add_rounded<Mul, T, T>(table, "mul");
  add_rounded<Fma, T, T, T>(table, "fma");
  add_map<Div, T, T, T>(table, "div" + type);
  add_map<Min, T, T, T>(table, "min" + type);
  add_map<Max, T, T, T>(table, "max" + type);
  add_map<CopySign, T, T, T>(table, "copysign" + type);
  add_map<Neg, T, T>(table, "neg" + type);
  add_map<Abs, T, T>(table, "abs" + type);
  add_map<Sqrt, T, T>(table, "sqrt" + type);
  add_map<Reciprocal, T, T>(table, "rcp" + type);
  add_map<ReciprocalRoot, T, T>(table, "rsqrt" + type);
  add_map<Saturate, T, T>(table, "cvt.sat" + type + type);
}

// ---- comparisons ----

// Comparisons of floats with a u are true for NaN, too.
#define COMPARISON(Name, expression)  \
  struct Name {                       \
    template <class T>                \
    bool operator()(T a, T b) const { \
      return expression;              \
    }                                 \
  };
COMPARISON(Eq, a == b)
COMPARISON(Ne, a<b || a> b)
COMPARISON(Lt, a < b)
COMPARISON(Le, a <= b)
COMPARISON(Gt, a > b)
COMPARISON(Ge, a >= b)
COMPARISON(Equ, !(a < b || a > b))
COMPARISON(Neu, a != b)
COMPARISON(Ltu, !(a >= b))
COMPARISON(Leu, !(a > b))
COMPARISON(Gtu, !(a <= b))
COMPARISON(Geu, !(a < b))
COMPARISON(Num, a == a && b == b)
COMPARISON(Nan, a != a || b != b)
#undef COMPARISON

template <class T>
void add_comparisons(OpcodeTable& table, const std::string& type) {
  add_test<Eq, T, T>(table, "setp.eq." + type);
  add_test<Ne, T, T>(table, "setp.ne." + type);
  add_test<Lt, T, T>(table, "setp.lt." + type);
  add_test<Le, T, T>(table, "setp.le." + type);
  add_test<Gt, T, T>(table, "setp.gt." + type);
  add_test<Ge, T, T>(table, "setp.ge." + type);
  if constexpr (std::is_floating_point_v<T>) {
    add_test<Equ, T, T>(table, "setp.equ." + type);
    add_test<Neu, T, T>(table, "setp.neu." + type);
    add_test<Ltu, T, T>(table, "setp.ltu." + type);
    add_test<Leu, T, T>(table, "setp.leu." + type);
    add_test<Gtu, T, T>(table, "setp.gtu." + type);
    add_test<Geu, T, T>(table, "setp.geu." + type);
    add_test<Num, T, T>(table, "setp.num." + type);
    add_test<Nan, T, T>(table, "setp.nan." + type);
  }
}

// ---- f16 and bf16, alone and in pairs ----

using Convert = float (*)(uint16_t);
using Round = uint16_t (*)(float);

template <Convert wide, Round narrow, class F>
struct Narrow {
  template <class... T>
  uint16_t operator()(T... x) const {
    return narrow(F{}(wide(x)...));
  }
};
template <Convert wide, Round narrow, class F>
struct Pair {
  template <class... T>
  uint32_t operator()(T... x) const {
    const Narrow<wide, narrow, F> one;
    return one(static_cast<uint16_t>(x)...) | static_cast<uint32_t>(one(static_cast<uint16_t>(x >> 16)...)) << 16;
  }
};

template <Convert wide, Round narrow, class F, class... T>
void add_narrow_and_pair(OpcodeTable& table, const std::string& mnemonic) {
  add_map<Narrow<wide, narrow, F>, uint16_t, uint16_t, std::conditional_t<true, uint16_t, T>...>(table, mnemonic);
  add_map<Pair<wide, narrow, F>, uint32_t, uint32_t, std::conditional_t<true, uint32_t, T>...>(table, mnemonic + "x2");
}

template <Convert wide, Round narrow>
void add_narrow_floats(OpcodeTable& table, const std::string& type) {
  add_narrow_and_pair<wide, narrow, Add, int>(table, "add." + type);
  add_narrow_and_pair<wide, narrow, Sub, int>(table, "sub." + type);
  add_narrow_and_pair<wide, narrow, Mul, int>(table, "mul." + type);
  add_narrow_and_pair<wide, narrow, Fma, int, int>(table, "fma." + type);
  add_narrow_and_pair<wide, narrow, Min, int>(table, "min." + type);
  add_narrow_and_pair<wide, narrow, Max, int>(table, "max." + type);
  add_narrow_and_pair<wide, narrow, Neg>(table, "neg." + type);
}

}  // namespace

void add_arithmetic(OpcodeTable& table) {
  for_types<int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t>(
      [&]<class T>(T) { add_integers<T>(table), add_comparisons<T>(table, type_name<T>()); });
  for_types<float, double>([&]<class T>(T) { add_floats<T>(table), add_comparisons<T>(table, type_name<T>()); });
  add_comparisons<uint16_t>(table, "b16");
  add_comparisons<uint32_t>(table, "b32");
  add_comparisons<uint64_t>(table, "b64");
  add_map<Exp2, float, float>(table, "ex2.f32");
  add_map<Log2, float, float>(table, "lg2.f32");
  add_map<Sin, float, float>(table, "sin.f32");
  add_map<Cos, float, float>(table, "cos.f32");
  add_map<Tanh, float, float>(table, "tanh.f32");
  add_narrow_floats<half_to_float, float_to_half>(table, "f16");
  add_narrow_floats<bfloat_to_float, float_to_bfloat>(table, "bf16");
}

}  // namespace lathe::emulator
