// What the files of handlers share: instructions that do to every lane what a function says.
#pragma once

#include <array>
#include <string>
#include <utility>

#include "tests/backends/cuda/emulator/warp.h"

namespace lathe::emulator {

// result = F{}(operands...), lane by lane. Lanes that do not take part are computed, too, and left out at the end, so
// that compilers can make vector code of the loop: F must not fail for any operands.
template <class F, class R, class... Operands>
void map_lanes(Warp& warp, const Instr& instr) {
  [&]<size_t... I>(std::index_sequence<I...>) {
    const auto operands = std::tuple{warp.lanes<Operands>(instr.operands[I + 1])...};
    Slot<R> results[kLanes];
    for (int lane = 0; lane < kLanes; ++lane)
      results[lane] = to_slot<R>(static_cast<R>(F{}(std::get<I>(operands)[lane]...)));
    warp.write<R>(instr.operands[0], results);
  }
  (std::index_sequence_for<Operands...>());
}

// The same, where the result is a predicate.
template <class F, class... Operands>
void test_lanes(Warp& warp, const Instr& instr) {
  [&]<size_t... I>(std::index_sequence<I...>) {
    const auto operands = std::tuple{warp.lanes<Operands>(instr.operands[I + 1])...};
    uint32_t result = 0;
    for (int lane = 0; lane < kLanes; ++lane)
      result |= static_cast<uint32_t>(F{}(std::get<I>(operands)[lane]...)) << lane;
    warp.write_predicate(instr.operands[0], result);
  }
  (std::index_sequence_for<Operands...>());
}

template <class T>
constexpr char width_of = sizeof(T) == 8 ? '8' : '4';

template <class F, class R, class... Operands>
void add_map(OpcodeTable& table, const std::string& mnemonic) {
  table[mnemonic] = {map_lanes<F, R, Operands...>, {width_of<R>, width_of<Operands>...}};
}
template <class F, class... Operands>
void add_test(OpcodeTable& table, const std::string& mnemonic) {
  table[mnemonic] = {test_lanes<F, Operands...>, {'1', width_of<Operands>...}};
}

// The name of a type in mnemonics.
template <class T>
std::string type_name() {
  std::string name = std::is_floating_point_v<T> ? "f" : std::is_signed_v<T> ? "s" : "u";
  return name += std::to_string(sizeof(T) * 8);
}

// Calls add(T{}) for each of the types.
template <class... T, class F>
void for_types(const F& add) {
  (add(T{}), ...);
}

// f16 and bf16 as their bits.
float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);
inline float bfloat_to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
inline uint16_t float_to_bfloat(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void add_arithmetic(OpcodeTable& table);
void add_bit_operations(OpcodeTable& table);
void add_conversions(OpcodeTable& table);
void add_memory(OpcodeTable& table);
void add_warp_operations(OpcodeTable& table);
void add_matrices(OpcodeTable& table);

}  // namespace lathe::emulator
