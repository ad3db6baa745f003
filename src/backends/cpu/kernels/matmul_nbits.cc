#include "backends/cpu/kernels/matmul_nbits.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/kernels/gemm_store.h"
#include "backends/cpu/kernels/matmul_nbits_internal.h"

namespace lathe::cpu {
namespace {

constexpr int64_t kOctet = kNBitsOctet;
constexpr int64_t kWidenedRows = 16;  // from here on panels are widened into the cache
constexpr int64_t kLeastResidentTiles = 4;

// Whether weights are widened in registers; else panel by panel.
bool reads_packed(const MatMulNBitsArgs& args) { return args.m < kWidenedRows && !args.uniform; }

int64_t parameter_bytes(NBitsParameter type) {
  return type == NBitsParameter::f32 ? 4 : type == NBitsParameter::u8 ? 1 : 2;
}

// The rows of `a` as bytes: tiles one after the other, each with its scales and sums behind it.
struct RoundedRows {
  int64_t m, tiles, octets, steps;
  std::byte* memory;

  RoundedRows(const MatMulNBitsArgs& args, int max_rows, std::byte* workspace)
      : m(args.m),
        tiles(ceil_div(args.m, max_rows)),
        octets(padded_terms(args.b.shape, kOctet) / kOctet),
        steps(count_steps(args.b.shape)),
        memory(workspace) {}

  int64_t row_bytes() const { return octets * kOctet + steps * 8; }
  int64_t bytes() const { return aligned(m * row_bytes()); }
  Range rows(int64_t tile) const { return even_part(m, tile, tiles); }
  NBitsTile tile(Range rows) const {
    auto* bytes = reinterpret_cast<int8_t*>(memory + rows.begin * row_bytes());
    auto* scales = reinterpret_cast<float*>(bytes + rows.size() * octets * kOctet);
    return {bytes, scales, reinterpret_cast<const int32_t*>(scales + rows.size() * steps), nullptr};
  }
};

// Row `row` of a tile of `count`, its bytes between those of the others.
void round_row(const MatMulNBitsKernels& kernels, const NBitsPanel& b, const float* x, int64_t row, int64_t count,
               const NBitsTile& tile) {
  auto* quads = const_cast<int8_t*>(tile.a) + row * 4;
  auto* scale = const_cast<float*>(tile.scales) + row;
  auto* sum = const_cast<int32_t*>(tile.sums) + row;
  for_each_step(b.shape, [&](int64_t term, int64_t terms) {
    alignas(64) int8_t bytes[kNBitsLongBlock];
    const RoundedStep step = round_step(kernels, b, x + term, terms, bytes);
    *scale = step.scale;
    *sum = step.sum;
    for (int64_t i = 0; i < ceil_div(terms, kOctet) * kOctet; i += 4, quads += count * 4)
      std::copy_n(bytes + i, 4, quads);
    scale += count;
    sum += count;
  });
}

// A product under way: what all threads see.
struct Product {
  const KernelTable& kernels;
  const MatMulNBitsArgs& args;
  const RoundedRows& rows;

  const MatMulNBitsKernels& own() const { return kernels.matmul_nbits; }

  NBitsPanel panel(int64_t i) const { return panel_of(args, own().nr, i); }

  void finish(int64_t row, int64_t count, int64_t i, const float* sums) const {
    store_tile(kernels.gemm, args.epilogue, args.n, 0, row, static_cast<int>(count), i, sums, own().nr);
  }

  void rounded_tiles(Range tiles, Range panels) const {
    alignas(64) float sums[kNBitsMaxRows * kMaxPanel];
    for (int64_t i = panels.begin; i < panels.end; ++i) {
      const NBitsPanel b = panel(i);
      for (int64_t t = tiles.begin; t < tiles.end; ++t) {
        const Range part = rows.rows(t);
        NBitsTile tile = rows.tile(part);
        tile.out = sums;
        own().rounded[args.nibbles][part.size()](b, tile);
        finish(part.begin, part.size(), i, sums);
      }
    }
  }

  // Tiles in groups whose bytes stay in a core's cache while the panels pass by.
  void rounded(Range tiles, Range panels) const {
    const int64_t tile_bytes = rows.row_bytes() * own().max_rows;
    const int64_t group = std::max(kLeastResidentTiles, kResidentBytes / std::max<int64_t>(tile_bytes, 1));
    const int64_t groups = ceil_div(tiles.size(), group);
    for (int64_t g = 0; g < groups; ++g) {
      const Range part = even_part(tiles.size(), g, groups);
      rounded_tiles({tiles.begin + part.begin, tiles.begin + part.end}, panels);
    }
  }

  void floats(Range part, Range panels) const {
    alignas(64) float sums[kNBitsMaxFloatRows * kMaxPanel];
    const int64_t k = args.b.shape.k;
    for (int64_t i = panels.begin; i < panels.end; ++i) {
      for (int64_t row = part.begin; row < part.end; row += kNBitsMaxFloatRows) {
        const int64_t count = std::min<int64_t>(kNBitsMaxFloatRows, part.end - row);
        own().floats[args.nibbles][count](panel(i), {args.a + row * k, k, sums});
        finish(row, count, i, sums);
      }
    }
  }

  void widened(Range part, Range panels, float* scratch) const {
    alignas(64) float sums[kGemmMaxRows * kMaxPanel];
    const GemmKernels& gemm = kernels.gemm;
    const int64_t k = args.b.shape.k, tiles = ceil_div(part.size(), gemm.max_rows);
    for (int64_t i = panels.begin; i < panels.end; ++i) {
      own().widen[args.nibbles](panel(i), scratch);
      const int cols = static_cast<int>(std::min<int64_t>(gemm.nr, args.n - i * gemm.nr));
      for (int64_t t = 0; t < tiles; ++t) {
        const Range tile = even_part(part.size(), t, tiles);
        const int64_t row = part.begin + tile.begin;
        (args.uniform ? gemm.uniform_tile : gemm.tile)[tile.size()](
            {args.a + row * k, k, scratch, gemm.nr, k, sums, gemm.nr, cols, false, nullptr});
        finish(row, tile.size(), i, sums);
      }
    }
  }
};

int64_t widened_floats(const KernelTable& kernels, const MatMulNBitsArgs& args) {
  return aligned(args.b.shape.k * kernels.gemm.nr * 4) / 4;
}

void round_rows(ThreadTeam& team, const MatMulNBitsKernels& kernels, const MatMulNBitsArgs& args,
                const RoundedRows& rows) {
  team.parallel_for(rows.tiles, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const Range part = rows.rows(t);
      for (int64_t row = part.begin; row < part.end; ++row)
        round_row(kernels, args.b, args.a + row * args.b.shape.k, row - part.begin, part.size(), rows.tile(part));
    }
  });
}

}  // namespace

RoundedStep round_step(const MatMulNBitsKernels& kernels, const NBitsPanel& b, const float* x, int64_t terms,
                       int8_t* bytes) {
  const float most = kernels.greatest(x, terms);
  const bool finite = most <= std::numeric_limits<float>::max();
  const float inverse = most > 0 ? 127 / most : 0;
  const int32_t sum = kernels.round(x, terms, std::isfinite(inverse) ? inverse : 0, bytes);
  return {finite ? most / 127 : std::numeric_limits<float>::quiet_NaN(), b.zeros == nullptr ? -b.middle * sum : sum};
}

NBitsPanel panel_of(const MatMulNBitsArgs& args, int nr, int64_t i) {
  const int64_t blocks = nbits_blocks(args.b.shape.k, args.b.shape.block);
  const auto at = [&](const void* p, NBitsParameter type) {
    return p == nullptr ? p : static_cast<const std::byte*>(p) + i * blocks * nr * parameter_bytes(type);
  };
  NBitsPanel b = args.b;
  b.weights += i * nbits_packed_bytes(nr, args.nibbles ? 4 : 8, nr, args.b.shape);
  b.scales = at(b.scales, b.scale_type);
  b.zeros = at(b.zeros, b.zero_type);
  return b;
}

NBitsShape nbits_shape(int64_t k, int64_t block) {
  block = std::max<int64_t>(std::min(block, k), 1);
  return {k, block, block <= kNBitsLongBlock ? block : kNBitsStep};
}

int64_t nbits_blocks(int64_t k, int64_t block) { return ceil_div(k, block); }

int64_t nbits_packed_bytes(int nr, int bits, int64_t n, const NBitsShape& shape) {
  return ceil_div(n, nr) * nr * padded_terms(shape, kOctet) * bits / 8;
}

int64_t nbits_parameter_bytes(int nr, int bytes, int64_t n, int64_t blocks) {
  return ceil_div(n, nr) * nr * blocks * bytes;
}

size_t matmul_nbits_workspace_bytes(const KernelTable& kernels, const MatMulNBitsArgs& args, int threads) {
  if (uses_tiles(args)) return matmul_nbits_tiles_workspace_bytes(kernels.matmul_nbits.nr, args, threads);
  if (args.round_rows) return static_cast<size_t>(RoundedRows(args, kernels.matmul_nbits.max_rows, nullptr).bytes());
  return reads_packed(args) ? 0 : static_cast<size_t>(threads * widened_floats(kernels, args) * 4);
}

void matmul_nbits(ThreadTeam& team, const KernelTable& kernels, const MatMulNBitsArgs& args, std::byte* workspace) {
  if (args.m <= 0 || args.n <= 0) return;
  if (uses_tiles(args)) return matmul_nbits_tiles(team, kernels, args, workspace);
  const MatMulNBitsKernels& own = kernels.matmul_nbits;
  const RoundedRows rows(args, own.max_rows, workspace);
  if (args.round_rows) round_rows(team, own, args, rows);
  const int64_t panels = ceil_div(args.n, own.nr);
  const Product product{kernels, args, rows};
  const GemmSplit split = choose_split(team.size(), args.m, panels, own.max_rows);
  team.parallel_for(split.panels * split.rows, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t part = begin; part < end; ++part) {
      const Range some = even_part(panels, part / split.rows, split.panels);
      const Range part_rows = even_part(args.m, part % split.rows, split.rows);
      if (args.round_rows)
        product.rounded(even_part(rows.tiles, part % split.rows, split.rows), some);
      else if (reads_packed(args))
        product.floats(part_rows, some);
      else
        product.widened(part_rows, some, reinterpret_cast<float*>(workspace) + thread * widened_floats(kernels, args));
    }
  });
}

}  // namespace lathe::cpu
