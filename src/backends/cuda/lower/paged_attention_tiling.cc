#include "backends/cuda/lower/paged_attention_tiling.h"

#include <fmt/core.h>

#include <algorithm>

#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

int64_t round_up(int64_t x, int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }

PagedTiling tiling(const PagedAttention& op, bool decode, int64_t rows, int64_t keys, int threads, int tiles) {
  constexpr int64_t kTerms = 16, kGap = 8;  // as the instructions and the kernel have it
  const int64_t head = round_up(op.head_dim, kTerms), value = round_up(op.value_dim, kTerms);
  const int64_t halves = (rows + keys) * (head + kGap) + keys * (value + kGap);
  return {decode, rows, keys, threads, tiles, head, value, static_cast<size_t>(halves) * 2};
}

}  // namespace

std::vector<std::string> PagedTiling::defines(bool alone) const {
  return {fmt::format("DECODE={}", decode ? 1 : 0),
          fmt::format("HEAD={}", head),
          fmt::format("VALUE={}", value),
          fmt::format("ROWS={}", rows),
          fmt::format("KEYS={}", keys),
          fmt::format("TILES={}", tiles),
          fmt::format("THREADS={}", threads),
          fmt::format("ALONE={}", alone ? 1 : 0)};
}

PagedTiling paged_decode_tiling(const PagedAttention& op) { return tiling(op, true, 16, kPagedSplitKeys, 32, 1); }

// Larger heads leave registers for fewer rows.
PagedTiling paged_chunk_tiling(const PagedAttention& op) {
  const int64_t most = std::max(op.head_dim, op.value_dim);
  if (most > 128) return tiling(op, false, 64, 32, 128, 1);
  return tiling(op, false, 128, most > 64 ? 32 : 64, 128, 2);
}

namespace {

std::string_view cache_type(DType type) { return type == DType::f8e4m3 ? "e4m3" : cuda_type(type); }

}  // namespace

std::vector<std::string> paged_defines(const PagedAttention& op, const PagedTypes& types) {
  const auto flag = [](bool value) { return value ? 1 : 0; };
  return {fmt::format("ELEMENT={}", cuda_type(types.type)),  fmt::format("CACHE={}", cache_type(types.cache)),
          fmt::format("KV_HEADS={}", op.kv_heads),           fmt::format("GROUP={}", op.heads / op.kv_heads),
          fmt::format("HEAD_DIM={}", op.head_dim),           fmt::format("VALUE_DIM={}", op.value_dim),
          fmt::format("BLOCK_SIZE={}", op.block_size),       fmt::format("WINDOW={}", op.window),
          fmt::format("SPLIT_KEYS={}", kPagedSplitKeys),     fmt::format("SOFTCAP={}", flag(op.softcap > 0)),
          fmt::format("SLOPES={}", flag(types.slopes)),      fmt::format("PREFIX={}", flag(types.prefix)),
          fmt::format("DISTANCES={}", types.distances),      fmt::format("CROSS={}", flag(types.cross)),
          fmt::format("PLAIN_SCALE={}", flag(op.scale > 0)), fmt::format("UNIFORM={}", flag(types.uniform)),
          fmt::format("CHUNKED={}", flag(op.chunked)),       fmt::format("SINKS={}", flag(types.sinks))};
}

}  // namespace lathe::cuda
