#include "backends/cpu/kernels/gemm_int8.h"

#include <algorithm>

#include "backends/cpu/kernels/gemm_split.h"

namespace lathe::cpu {

namespace avx512 {
const AmxInt8Kernels& amx_int8();
}

namespace {

constexpr int64_t kQuad = 4;
constexpr int64_t kResidentBytes = 512 * 1024;  // a block of A that stays in a core's L2 while panels of B pass by
constexpr int64_t kLeastResidentTiles = 8;
constexpr int kMaxPanel = 32;
constexpr int64_t kLine = 64;
constexpr int kOffset = 128;  // between the signed and the unsigned reading of a byte with its top bit flipped

int64_t padded_depth(int64_t k) { return ceil_div(k, kQuad) * kQuad; }

bool needs_copy(const GemmInt8& g) { return g.a_signed || !g.b_signed || g.k % kQuad != 0; }

size_t aligned(int64_t bytes) { return static_cast<size_t>(ceil_div(bytes, 64) * 64); }

// A as the kernels read it.
struct Activations {
  const uint8_t* rows;
  int64_t stride;
  const int32_t* row_add;  // null: nothing to add
};

Activations activations(const GemmInt8& g, std::byte* workspace) {
  if (!needs_copy(g)) return {static_cast<const uint8_t*>(g.a), g.k, nullptr};
  const int64_t stride = padded_depth(g.k);
  const auto* row_add = reinterpret_cast<const int32_t*>(workspace + aligned(g.m * stride));
  return {reinterpret_cast<const uint8_t*>(workspace), stride, g.b_signed ? nullptr : row_add};
}

// Fills rows [begin, end) of the copy.
void convert_rows(const Int8Kernels& kernels, const GemmInt8& g, std::byte* workspace, int64_t begin, int64_t end) {
  const int64_t stride = padded_depth(g.k);
  auto* copy = reinterpret_cast<uint8_t*>(workspace);
  auto* row_add = reinterpret_cast<int32_t*>(workspace + aligned(g.m * stride));
  const auto flip = static_cast<uint8_t>(g.a_signed ? kOffset : 0);
  // (a - 128)(w + 128) = aw - 128 w + 128 a - 128^2, with 0 for an offset that is not there.
  const auto both = static_cast<int32_t>(g.a_signed ? kOffset * kOffset * g.k : 0);
  for (int64_t i = begin; i < end; ++i) {
    uint8_t* to = copy + i * stride;
    const int32_t sum = kernels.copy_row(static_cast<const uint8_t*>(g.a) + i * g.k, g.k, flip, to);
    std::fill(to + g.k, to + stride, uint8_t{0});
    row_add[i] = kOffset * sum - both;
  }
}

// What the tiles of a panel touch on their way.
struct Prefetch {
  const char* from;
  int64_t bytes_per_quad;
};

struct Product {
  const Int8Kernels& kernels;
  const GemmInt8& gemm;
  Activations a;
  int64_t panel_bytes;
  const AmxInt8Kernels* tiles;  // null: not for so few rows
  int max_rows;                 // of a tile

  Product(const Int8Kernels& with, const GemmInt8& g, std::byte* workspace)
      : kernels(with),
        gemm(g),
        a(activations(g, workspace)),
        panel_bytes(int8_panel_bytes(with.nr, g.k)),
        tiles(g.m >= kAmxLeastRows ? g.tiles : nullptr),
        max_rows(tiles != nullptr ? kAmxRows : with.max_rows) {}

  // Shares of rows are even, so that those of many rows have kAmxLeastRows or more, too.
  GemmSplit split(int threads) const { return choose_split(threads, gemm.m, ceil_div(gemm.n, kernels.nr), max_rows); }
  void multiply(int64_t row, int64_t rows, const int8_t* panel, const Prefetch& prefetch, int32_t* sums) const;
  void tile(int64_t row, int64_t rows, int64_t panel, const Prefetch& prefetch) const;
  void panel_rows(Range rows, int64_t panel, const int8_t* next) const;
  void part(Range rows, Range panels) const;
};

void Product::multiply(int64_t row, int64_t rows, const int8_t* panel, const Prefetch& prefetch, int32_t* sums) const {
  const uint8_t* first = a.rows + row * a.stride;
  const int64_t quads = ceil_div(gemm.k, kQuad);
  if (tiles != nullptr) {
    const int64_t step = ceil_div(prefetch.bytes_per_quad * kAmxDepth / kQuad, kLine) * kLine;
    return tiles->product({first, a.stride, static_cast<int>(rows), quads * kQuad, panel, sums, prefetch.from, step});
  }
  const uint8_t* pointers[kInt8MaxRows];
  for (int64_t r = 0; r < rows; ++r) pointers[r] = first + r * a.stride;
  const int64_t offset = 0;
  kernels.tile[rows]({pointers, &offset, 1, quads, panel, sums, prefetch.from, prefetch.bytes_per_quad});
}

void Product::tile(int64_t row, int64_t rows, int64_t panel, const Prefetch& prefetch) const {
  alignas(64) int32_t sums[kAmxRows * kMaxPanel];
  const int8_t* b = gemm.packed_b + panel * panel_bytes;
  multiply(row, rows, b, prefetch, sums);
  const int64_t col = panel * kernels.nr, nr = kernels.nr;
  finish_int8(kernels, gemm.epilogue,
              {sums, nr, row, rows, col, std::min(nr, gemm.n - col), gemm.n, a.row_add,
               reinterpret_cast<const int32_t*>(b + padded_depth(gemm.k) * nr), gemm.a_signed ? -kOffset : 0});
}

// All row tiles of one panel. The rows are dealt evenly: 200 rows become 8 tiles of 13 and 8 of 12, never a tile of 4.
// While at it, the first tiles touch the `next` panel, a line per quad, so that it is in L2 when its turn comes; matrix
// tiles, which are faster, share it evenly.
void Product::panel_rows(Range rows, int64_t panel, const int8_t* next) const {
  const int64_t count = ceil_div(rows.size(), max_rows), quads = ceil_div(gemm.k, kQuad);
  const int64_t per_quad = tiles != nullptr ? ceil_div(kernels.nr * kQuad, count) : kLine;
  for (int64_t i = 0; i < count; ++i) {
    const Range part = even_part(rows.size(), i, count);
    const bool fetch = next != nullptr && i * quads * per_quad < panel_bytes;
    tile(rows.begin + part.begin, part.size(), panel,
         {fetch ? reinterpret_cast<const char*>(next) + i * quads * per_quad : nullptr, fetch ? per_quad : 0});
  }
}

void Product::part(Range rows, Range panels) const {
  const int64_t most = std::max(kResidentBytes / std::max<int64_t>(gemm.k, 1), kLeastResidentTiles * max_rows);
  const int64_t blocks = ceil_div(rows.size(), most);
  if (tiles != nullptr) tiles->begin();
  for (int64_t i = 0; i < blocks; ++i) {
    const Range inner = even_part(rows.size(), i, blocks);
    for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
      const int8_t* next = panel + 1 < panels.end ? gemm.packed_b + (panel + 1) * panel_bytes : nullptr;
      panel_rows({rows.begin + inner.begin, rows.begin + inner.end}, panel, next);
    }
  }
  if (tiles != nullptr) tiles->end();
}

}  // namespace

int64_t int8_panel_bytes(int nr, int64_t k) {
  return padded_depth(k) * nr + nr * static_cast<int64_t>(sizeof(int32_t));
}

int64_t int8_packed_bytes(int nr, int64_t k, int64_t n) { return ceil_div(n, nr) * int8_panel_bytes(nr, k); }

void int8_pack(int nr, const Int8SourceB& b, int64_t k, int64_t n, int8_t* packed) {
  const auto* bytes = static_cast<const uint8_t*>(b.data);
  const auto flip = static_cast<uint8_t>(b.is_signed ? 0 : kOffset);
  const int64_t quad_row = nr * kQuad, panel_bytes = int8_panel_bytes(nr, k);
  std::fill_n(packed, int8_packed_bytes(nr, k, n), int8_t{0});
  for (int64_t first = 0; first < n; first += nr, packed += panel_bytes) {
    auto* sums = reinterpret_cast<int32_t*>(packed + padded_depth(k) * nr);
    const int64_t cols = std::min<int64_t>(nr, n - first);
    for (int64_t quad = 0; quad < k; quad += kQuad) {
      for (int64_t j = 0; j < cols; ++j) {
        int8_t* to = packed + quad / kQuad * quad_row + j * kQuad;
        for (int64_t i = quad; i < std::min(k, quad + kQuad); ++i, ++to) {
          *to = static_cast<int8_t>(bytes[i * b.stride_k + (first + j) * b.stride_n] ^ flip);
          sums[j] += *to;
        }
      }
    }
  }
}

void int8_unpack(int nr, const int8_t* packed, int64_t k, int64_t n, const Int8SourceB& b) {
  auto* out = static_cast<uint8_t*>(const_cast<void*>(b.data));
  const auto flip = static_cast<uint8_t>(b.is_signed ? 0 : kOffset);
  for (int64_t j = 0; j < n; ++j) {
    const int8_t* column = packed + j / nr * int8_panel_bytes(nr, k) + j % nr * kQuad;
    for (int64_t i = 0; i < k; ++i)
      out[i * b.stride_k + j * b.stride_n] = static_cast<uint8_t>(column[i / kQuad * nr * kQuad + i % kQuad] ^ flip);
  }
}

const AmxInt8Kernels* int8_tiles(const CpuFeatures& features, Isa isa) {
  return isa == Isa::avx512 && features.amx_int8 && request_tiles() ? &avx512::amx_int8() : nullptr;
}

size_t gemm_int8_workspace_bytes(const GemmInt8& g) {
  return needs_copy(g) ? aligned(g.m * padded_depth(g.k)) + aligned(g.m * static_cast<int64_t>(sizeof(int32_t))) : 0;
}

void gemm_int8(ThreadTeam& team, const Int8Kernels& kernels, const GemmInt8& g, std::byte* workspace) {
  if (g.m <= 0 || g.n <= 0) return;
  if (needs_copy(g)) {
    team.parallel_for(g.m, [&](int64_t begin, int64_t end, int) { convert_rows(kernels, g, workspace, begin, end); });
  }
  const Product product(kernels, g, workspace);
  const int64_t panels = ceil_div(g.n, kernels.nr);
  const GemmSplit split = product.split(team.size());
  team.parallel_for(split.panels * split.rows, [&](int64_t begin, int64_t end, int) {
    for (int64_t part = begin; part < end; ++part)
      product.part(even_part(g.m, part % split.rows, split.rows), even_part(panels, part / split.rows, split.panels));
  });
}

void gemm_int8_serial(const Int8Kernels& kernels, const GemmInt8& g, std::byte* workspace) {
  if (g.m <= 0 || g.n <= 0) return;
  if (needs_copy(g)) convert_rows(kernels, g, workspace, 0, g.m);
  const Product product(kernels, g, workspace);
  product.part({0, g.m}, {0, ceil_div(g.n, kernels.nr)});
}

namespace {

int64_t result_bytes(const Int8Epilogue& e) { return e.result == Int8Result::bytes ? 1 : 4; }
int64_t residual_bytes(const Int8Epilogue& e) { return e.residual_type == Int8Residual::f32 ? 4 : 1; }

}  // namespace

Int8Epilogue from_row(const Int8Epilogue& epilogue, int64_t row, int64_t columns) {
  const auto advance = [](auto*& p, int64_t offset) { p = p == nullptr ? p : p + offset; };
  Int8Epilogue e = epilogue;
  for (const int32_t*& factors : e.row_factors) advance(factors, row);
  advance(e.row_scale, row);
  if (e.residual != nullptr) e.residual = static_cast<const std::byte*>(e.residual) + row * columns * residual_bytes(e);
  e.c = static_cast<std::byte*>(e.c) + row * columns * result_bytes(e);
  return e;
}

void finish_int8(const Int8Kernels& kernels, const Int8Epilogue& e, const Int8Block& b) {
  const auto from = [](const auto* p, int64_t offset) { return p == nullptr ? p : p + offset; };
  const int64_t at = b.row * b.ldc + b.col;
  Int8Finish f;
  f.acc = b.acc;
  f.ld_acc = b.ld_acc;
  f.rows = static_cast<int>(b.rows);
  f.cols = static_cast<int>(b.cols);
  f.sums.col_add = from(e.col_add, b.col);
  f.sums.col_sums = b.col_sums;
  f.sums.col_sum_factor = b.col_sum_factor;
  f.sums.row_add = from(b.row_add, b.row);
  for (int i = 0; i < 2; ++i) {
    f.sums.row_factors[i] = from(e.row_factors[i], b.row);
    f.sums.col_factors[i] = from(e.col_factors[i], b.col);
  }
  f.row_scale = from(e.row_scale, b.row);
  f.col_scale = from(e.col_scale, b.col);
  f.bias = from(e.bias, b.col);
  f.activation = e.activation;
  f.round_trip = e.round_trip;
  f.middle = e.middle;
  f.middle_scale = e.middle_scale;
  f.residual_type = e.residual_type;
  f.residual = from(static_cast<const std::byte*>(e.residual), at * residual_bytes(e));
  f.ld_residual = b.ldc;
  f.residual_scale = e.residual_scale;
  f.residual_zero = e.residual_zero;
  f.residual_last = e.residual_last;
  f.last_activation = e.last_activation;
  f.result = e.result;
  f.requantize = e.requantize;
  f.c = static_cast<std::byte*>(e.c) + at * result_bytes(e);
  f.ldc = b.ldc;
  kernels.finish(f);
}

}  // namespace lathe::cpu
