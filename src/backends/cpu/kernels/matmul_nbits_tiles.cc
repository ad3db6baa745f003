// Rows that were rounded to bytes in matrix tiles. Blocks of rows that fit a core's cache stay there while the panels
// pass by; nibbles become bytes once for all blocks.
#include <algorithm>

#include "backends/cpu/kernels/gemm_store.h"
#include "backends/cpu/kernels/matmul_nbits_internal.h"

namespace lathe::cpu {
namespace {

constexpr int64_t kLine = 64;

// The rows as bytes, in blocks of up to kAmxRows, each with its scales and sums behind it.
struct RoundedBlocks {
  int64_t m, count, depth, steps;
  std::byte* memory;

  RoundedBlocks(const MatMulNBitsArgs& args, std::byte* workspace)
      : m(args.m),
        count(ceil_div(args.m, kAmxRows)),
        depth(padded_terms(args.b.shape, kAmxDepth)),
        steps(count_steps(args.b.shape)),
        memory(workspace) {}

  int64_t block_bytes() const { return kAmxRows * (depth + steps * int64_t{sizeof(float) + sizeof(int32_t)}); }
  Range rows(int64_t block) const { return even_part(m, block, count); }
  int8_t* bytes(int64_t block) const { return reinterpret_cast<int8_t*>(memory + block * block_bytes()); }
  float* scales(int64_t block) const { return reinterpret_cast<float*>(bytes(block) + kAmxRows * depth); }
  int32_t* sums(int64_t block) const { return reinterpret_cast<int32_t*>(scales(block) + kAmxRows * steps); }
};

// Row `row` of a block.
void round_row(const MatMulNBitsKernels& kernels, const NBitsPanel& b, const float* x, const RoundedBlocks& blocks,
               int64_t block, int64_t row) {
  constexpr int64_t kTile = kAmxLeastRows * kAmxDepth;
  int8_t* to = blocks.bytes(block) + row / kAmxLeastRows * kTile + row % kAmxLeastRows * kAmxDepth;
  float* scale = blocks.scales(block) + row;
  int32_t* sum = blocks.sums(block) + row;
  for_each_step(b.shape, [&](int64_t term, int64_t terms) {
    alignas(64) int8_t bytes[kNBitsLongBlock] = {};
    const RoundedStep step = round_step(kernels, b, x + term, terms, bytes);
    *scale = step.scale;
    *sum = step.sum;
    for (int64_t i = 0; i < terms; i += kAmxDepth, to += 2 * kTile) std::copy_n(bytes + i, kAmxDepth, to);
    scale += kAmxRows;
    sum += kAmxRows;
  });
}

// Whether panels go through a copy as bytes: tiles read whole ones, also behind the last term of a step.
bool copies_panels(const MatMulNBitsArgs& args) {
  return args.nibbles || args.b.shape.k % kAmxDepth != 0 || args.b.shape.block % kAmxDepth != 0;
}

int64_t copy_bytes(int nr, const MatMulNBitsArgs& args) {
  if (!copies_panels(args)) return 0;
  return aligned((padded_terms(args.b.shape, kNBitsOctet) + kAmxDepth) * nr);
}

struct TiledProduct {
  const KernelTable& kernels;
  const MatMulNBitsArgs& args;
  const RoundedBlocks& blocks;

  NBitsPanel panel(int64_t i, uint8_t* copy) const {
    const int nr = kernels.matmul_nbits.nr;
    NBitsPanel b = panel_of(args, nr, i);
    if (!copies_panels(args)) return b;
    const int64_t terms = padded_terms(b.shape, kNBitsOctet);
    if (args.nibbles)
      args.tiles->unpack(b.weights, terms / kNBitsOctet, copy);
    else
      std::copy_n(b.weights, terms * nr, copy);
    b.weights = copy;
    return b;
  }

  void multiply(Range some, Range panels, uint8_t* copy) const {
    alignas(64) float out[kAmxRows * kMaxPanel];
    const int nr = kernels.matmul_nbits.nr;
    // Each block fetches its share of the next panel.
    const int64_t panel_bytes = nbits_packed_bytes(nr, args.nibbles ? 4 : 8, nr, args.b.shape);
    const int64_t products = std::max<int64_t>(some.size() * blocks.depth / kAmxDepth, 1);
    const int64_t step = ceil_div(ceil_div(panel_bytes, products), kLine) * kLine;
    for (int64_t i = panels.begin; i < panels.end; ++i) {
      const NBitsPanel b = panel(i, copy);
      const char* next =
          i + 1 < panels.end ? reinterpret_cast<const char*>(panel_of(args, nr, i + 1).weights) : nullptr;
      for (int64_t block = some.begin; block < some.end; ++block) {
        const Range rows = blocks.rows(block);
        const int count = static_cast<int>(rows.size());
        args.tiles->rounded(b, {blocks.bytes(block), blocks.scales(block), blocks.sums(block), out, count, next, step});
        if (next != nullptr) next += step * (blocks.depth / kAmxDepth);
        store_tile(kernels.gemm, args.epilogue, args.n, 0, rows.begin, count, i, out, nr);
      }
    }
  }

  void run(Range part, Range panels, uint8_t* copy) const {
    const int64_t group = std::max<int64_t>(kResidentBytes / std::max<int64_t>(blocks.block_bytes(), 1), 1);
    const int64_t groups = ceil_div(part.size(), group);
    args.tiles->begin();
    for (int64_t g = 0; g < groups; ++g) {
      const Range some = even_part(part.size(), g, groups);
      multiply({part.begin + some.begin, part.begin + some.end}, panels, copy);
    }
    args.tiles->end();
  }
};

}  // namespace

bool uses_tiles(const MatMulNBitsArgs& args) {
  return args.tiles != nullptr && args.round_rows && args.m >= kAmxLeastRows;
}

size_t matmul_nbits_tiles_workspace_bytes(int nr, const MatMulNBitsArgs& args, int threads) {
  const RoundedBlocks blocks(args, nullptr);
  return static_cast<size_t>(aligned(blocks.count * blocks.block_bytes()) + threads * copy_bytes(nr, args));
}

void matmul_nbits_tiles(ThreadTeam& team, const KernelTable& kernels, const MatMulNBitsArgs& args,
                        std::byte* workspace) {
  const RoundedBlocks blocks(args, workspace);
  const int nr = kernels.matmul_nbits.nr;
  auto* copies = reinterpret_cast<uint8_t*>(workspace + aligned(blocks.count * blocks.block_bytes()));
  team.parallel_for(args.m, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = 0; block < blocks.count; ++block) {
      const Range rows = blocks.rows(block);
      for (int64_t row = std::max(begin, rows.begin); row < std::min(end, rows.end); ++row)
        round_row(kernels.matmul_nbits, args.b, args.a + row * args.b.shape.k, blocks, block, row - rows.begin);
    }
  });
  const TiledProduct product{kernels, args, blocks};
  const int64_t panels = ceil_div(args.n, nr);
  const GemmSplit split = choose_split(team.size(), args.m, panels, kAmxRows);
  team.parallel_for(split.panels * split.rows, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t part = begin; part < end; ++part)
      product.run(even_part(blocks.count, part % split.rows, split.rows),
                  even_part(panels, part / split.rows, split.panels), copies + thread * copy_bytes(nr, args));
  });
}

}  // namespace lathe::cpu
