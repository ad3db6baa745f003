// Matrices spread over the lanes of a warp: loads of 8 x 8 from shared memory, and products on tensor cores. PTX ISA
// says which lane has which elements: lanes stand in groups of four, the group is a row (of b, a column), the four
// share it.
#include <algorithm>
#include <array>

#include "tests/backends/cuda/emulator/handlers.h"

namespace lathe::emulator {
namespace {

constexpr int kRows = 16, kColumns = 8;  // of a product
constexpr int kLinesOfMatrix = 8, kBytesOfLine = 16;

// Lane i has the address of line i % 8 of matrix i / 8, and gets from each matrix the elements 2 (i % 4) and the next
// of line i / 4; transposed, of column i / 4.
template <int Count, bool Transposed>
void load_matrices(Warp& warp, const Instr& instr) {
  if (!warp.gather(kAllLanes)) return;
  const auto base = warp.lanes<uint32_t>(instr.operands[Count]);
  const std::span<std::byte> shared = warp.block().shared();
  for (int matrix = 0; matrix < Count; ++matrix) {
    std::array<std::array<uint16_t, kLinesOfMatrix>, kLinesOfMatrix> lines;
    for (int line = 0; line < kLinesOfMatrix; ++line) {
      const int lane = matrix * kLinesOfMatrix + line;
      const uint64_t at = base[lane] + static_cast<uint64_t>(instr.offsets[0]);
      if (at % kBytesOfLine != 0) throw Fault{kMisalignedAddress, "a line of a matrix that is not aligned", lane};
      if (at + kBytesOfLine > shared.size())
        throw Fault{kIllegalAddress, "a line of a matrix outside of the block's shared memory", lane};
      if (warp.block().races().touch(at, kBytesOfLine, warp.index(), Racecheck::Access::read) >= 0)
        throw Fault{kLaunchFailed, "race: a line of a matrix that another warp has written since the last barrier",
                    lane};
      std::memcpy(lines[static_cast<size_t>(line)].data(), shared.data() + at, kBytesOfLine);
    }
    uint32_t values[kLanes];
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const size_t major = lane / 4, minor = lane % 4 * 2;
      const uint16_t low = Transposed ? lines[minor][major] : lines[major][minor];
      const uint16_t high = Transposed ? lines[minor + 1][major] : lines[major][minor + 1];
      values[lane] = low | uint32_t{high} << 16;
    }
    warp.write<uint32_t>(instr.operands[matrix], values);
  }
}

// Bits of a factor to the type of the sums.
template <class Sum, class T>
struct Widen {
  static constexpr int kBits = sizeof(T) * 8;
  static Sum at(uint32_t bits, int i) { return static_cast<T>(bits >> i * kBits); }
};
struct Half {
  uint16_t bits;
};
struct Bfloat {
  uint16_t bits;
};
struct Tf32 {
  uint32_t bits;
};
template <>
struct Widen<float, Half> {
  static constexpr int kBits = 16;
  static float at(uint32_t bits, int i) { return half_to_float(static_cast<uint16_t>(bits >> i * kBits)); }
};
template <>
struct Widen<float, Bfloat> {
  static constexpr int kBits = 16;
  static float at(uint32_t bits, int i) { return bfloat_to_float(static_cast<uint16_t>(bits >> i * kBits)); }
};
template <>
struct Widen<float, Tf32> {
  static constexpr int kBits = 32;
  static float at(uint32_t bits, int) { return std::bit_cast<float>(bits & ~0x1fffU); }
};

// d = a b + c with `Depth` terms. Registers of a: pairs of rows (i and i + 8) for each 16 bytes of terms.
template <class Sum, class A, class B, int Depth>
void multiply(Warp& warp, const Instr& instr) {
  if (!warp.gather(kAllLanes)) return;
  constexpr int kEach = 32 / Widen<Sum, A>::kBits, kRegisters = Depth / (4 * kEach);
  std::array<std::array<Sum, kColumns>, kRows> sums;
  std::array<std::array<Sum, Depth>, kRows> left;
  std::array<std::array<Sum, kColumns>, Depth> right;
  const int32_t *a = instr.operands + 4, *b = a + 2 * kRegisters, *c = b + kRegisters;
  for (int reg = 0; reg < kRegisters; ++reg) {
    const auto upper = warp.lanes<uint32_t>(a[2 * reg]), lower = warp.lanes<uint32_t>(a[2 * reg + 1]),
               column = warp.lanes<uint32_t>(b[reg]);
    for (int lane = 0; lane < kLanes; ++lane)
      for (int i = 0; i < kEach; ++i) {
        const auto group = static_cast<size_t>(lane / 4), k = static_cast<size_t>((reg * 4 + lane % 4) * kEach + i);
        left[group][k] = Widen<Sum, A>::at(upper[lane], i);
        left[group + 8][k] = Widen<Sum, A>::at(lower[lane], i);
        right[k][group] = Widen<Sum, B>::at(column[lane], i);
      }
  }
  for (size_t i = 0; i < 4; ++i) {
    const auto values = warp.lanes<Sum>(c[i]);
    for (size_t lane = 0; lane < kLanes; ++lane)
      sums[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = values[static_cast<int>(lane)];
  }
  for (size_t row = 0; row < kRows; ++row)
    for (size_t k = 0; k < Depth; ++k)
      for (size_t column = 0; column < kColumns; ++column) sums[row][column] += left[row][k] * right[k][column];
  for (size_t i = 0; i < 4; ++i) {
    Slot<Sum> values[kLanes];
    for (size_t lane = 0; lane < kLanes; ++lane)
      values[lane] = to_slot<Sum>(sums[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2]);
    warp.write<Sum>(instr.operands[i], values);
  }
}

template <class Sum, class A, class B, int Depth>
void add_product(OpcodeTable& table, const std::string& types) {
  constexpr int kRegisters = Depth * Widen<Sum, A>::kBits / 128;
  const std::string name = "mma.m16n8k" + std::to_string(Depth) + ".row.col." + types;
  table[name] = {multiply<Sum, A, B, Depth>, std::string(8 + 3 * kRegisters, '4')};
}

}  // namespace

void add_matrices(OpcodeTable& table) {
  table["ldmatrix.m8n8.x1.shared.b16"] = {load_matrices<1, false>, "4a"};
  table["ldmatrix.m8n8.x2.shared.b16"] = {load_matrices<2, false>, "44a"};
  table["ldmatrix.m8n8.x4.shared.b16"] = {load_matrices<4, false>, "4444a"};
  table["ldmatrix.m8n8.x1.trans.shared.b16"] = {load_matrices<1, true>, "4a"};
  table["ldmatrix.m8n8.x2.trans.shared.b16"] = {load_matrices<2, true>, "44a"};
  table["ldmatrix.m8n8.x4.trans.shared.b16"] = {load_matrices<4, true>, "4444a"};
  add_product<float, Half, Half, 8>(table, "f32.f16.f16.f32");
  add_product<float, Half, Half, 16>(table, "f32.f16.f16.f32");
  add_product<float, Bfloat, Bfloat, 8>(table, "f32.bf16.bf16.f32");
  add_product<float, Bfloat, Bfloat, 16>(table, "f32.bf16.bf16.f32");
  add_product<float, Tf32, Tf32, 4>(table, "f32.tf32.tf32.f32");
  add_product<float, Tf32, Tf32, 8>(table, "f32.tf32.tf32.f32");
  add_product<int32_t, int8_t, int8_t, 32>(table, "s32.s8.s8.s32");
  add_product<int32_t, int8_t, uint8_t, 32>(table, "s32.s8.u8.s32");
  add_product<int32_t, uint8_t, int8_t, 32>(table, "s32.u8.s8.s32");
  add_product<int32_t, uint8_t, uint8_t, 32>(table, "s32.u8.u8.s32");
}

}  // namespace lathe::emulator
