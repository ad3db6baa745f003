// Matrix tiles (AMX) as kernels use them: tmm0 to tmm3 are sums of 16 x 16, all others operands of 16 rows of 64 bytes.
// Rows of the right-hand operand hold what 16 columns need of 4 consecutive bytes of depth (2 of bf16).
//
// Tile instructions are written in assembly: the compiler's own configuration intrinsic does not tell it that all 64
// bytes of the configuration are read (g++ 12), and nothing else of it is needed.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/vec.h"

#define LATHE_TARGET_AMX __attribute__((target("amx-tile,amx-bf16,amx-int8")))

// Loads a tile whose rows lie `stride` bytes apart.
#define LATHE_TILE_LOAD(tile, from, stride) \
  asm volatile("tileloadd (%0,%1,1), %%" tile : : "r"(from), "r"(static_cast<int64_t>(stride)) : "memory")
#define LATHE_TILE_STORE(tile, to, stride) \
  asm volatile("tilestored %%" tile ", (%0,%1,1)" : : "r"(to), "r"(static_cast<int64_t>(stride)) : "memory")
// Instructions: tdpbf16ps, tdpbusd (a unsigned, b signed), tdpbsud (a signed, b unsigned).
#define LATHE_TILE_PRODUCT(instruction, sum, a, b) asm volatile(instruction " %%" b ", %%" a ", %%" sum : :)
#define LATHE_TILE_ZERO(tile) asm volatile("tilezero %%" tile : :)

namespace lathe::cpu::LATHE_ISA {

inline constexpr int kTileRows = 16, kTilePanel = 2 * kTileRows;  // two tiles either way make a block of sums
inline constexpr int64_t kTileRowBytes = 64;
inline constexpr int64_t kTileBytes = kTileRows * kTileRowBytes;
inline constexpr int64_t kTilePanelRow = kTilePanel * 4;               // bytes of a row of both right-hand tiles
inline constexpr int64_t kTilePanelStep = kTileRows * kTilePanelRow;   // bytes of both
inline constexpr int64_t kTileSecondColumns = kTileRows * int64_t{4};  // bytes from one to the other
static_assert(kTilePanel == 2 * kVecWidth);

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

// Around any use of tiles, on the thread that uses them.
LATHE_TARGET_AMX inline void begin_tiles() noexcept {
  const TileConfig config;
  asm volatile("ldtilecfg %0" : : "m"(config));
}
LATHE_TARGET_AMX inline void end_tiles() noexcept { asm volatile("tilerelease"); }

template <bool both>
LATHE_TARGET_AMX inline void zero_sums() {
  LATHE_TILE_ZERO("tmm0");
  LATHE_TILE_ZERO("tmm1");
  if constexpr (both) {
    LATHE_TILE_ZERO("tmm2");
    LATHE_TILE_ZERO("tmm3");
  }
}

// Stores the sums as 16 or 32 rows of 32 elements of four bytes, `stride` bytes apart; the second sixteen from row
// `second` on.
template <bool both>
LATHE_TARGET_AMX inline void store_sums(void* out, int64_t stride, int64_t second) {
  char* to = static_cast<char*>(out);
  LATHE_TILE_STORE("tmm0", to, stride);
  LATHE_TILE_STORE("tmm1", to + kTileSecondColumns, stride);
  if constexpr (both) {
    to += second * stride;
    LATHE_TILE_STORE("tmm2", to, stride);
    LATHE_TILE_STORE("tmm3", to + kTileSecondColumns, stride);
  }
}

// sums += 16 or 32 rows times a step of a panel; rows lie `stride` bytes apart. Products that share columns follow each
// other, so that the next step's can be loaded while the others are multiplied.
#define LATHE_TILE_STEP(instruction, both, a, second_rows, stride, b)          \
  LATHE_TILE_LOAD("tmm4", a, stride);                                          \
  LATHE_TILE_LOAD("tmm6", b, kTilePanelRow);                                   \
  if constexpr (both) LATHE_TILE_LOAD("tmm5", second_rows, stride);            \
  LATHE_TILE_LOAD("tmm7", (b) + kTileSecondColumns, kTilePanelRow);            \
  LATHE_TILE_PRODUCT(instruction, "tmm0", "tmm4", "tmm6");                     \
  if constexpr (both) LATHE_TILE_PRODUCT(instruction, "tmm2", "tmm5", "tmm6"); \
  LATHE_TILE_PRODUCT(instruction, "tmm1", "tmm4", "tmm7");                     \
  if constexpr (both) LATHE_TILE_PRODUCT(instruction, "tmm3", "tmm5", "tmm7")

}  // namespace lathe::cpu::LATHE_ISA
