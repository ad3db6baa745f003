// MatMulNBits: products with weights of a few bits.
#include <algorithm>
#include <numeric>

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"
#include "onnx/importers/window.h"

namespace lathe::onnx {
namespace {

struct Sizes {
  int64_t n, k, bits, block;

  explicit Sizes(Context& ctx)
      : n(ctx.required_int("N")),
        k(ctx.required_int("K")),
        bits(ctx.attr_int("bits", 4)),
        block(ctx.required_int("block_size")) {
    if (bits != 2 && bits != 4 && bits != 8) ctx.unsupported(fmt::format("weights of {} bits are not supported", bits));
    if (k <= 0 || n <= 0 || block <= 0) ctx.invalid("K, N and block_size must be positive");
  }

  int64_t blocks() const { return (k + block - 1) / block; }
  DType dtype() const { return bits == 8 ? DType::u8 : bits == 4 ? DType::u4 : DType::u2; }
};

// The bytes of a constant u8 tensor as packed elements; nothing is copied.
Tensor packed(Context& ctx, size_t i, DType dtype, std::vector<int64_t> dims) {
  const auto bytes = ctx.constant(i);
  if (!bytes || bytes->dtype() != DType::u8) ctx.unsupported("packed weights must be constants of bytes");
  const auto owner = std::make_shared<const Tensor>(*bytes);
  return Tensor::view(dtype, std::move(dims), owner->bytes(), owner);
}

// The columns of a matrix that `order` lists; the matrix itself when these are all, in order.
Tensor columns(const Tensor& x, const std::vector<int64_t>& order) {
  const int64_t rows = x.dims()[0], width = x.dims()[1];
  bool all = static_cast<int64_t>(order.size()) == width;
  for (size_t i = 0; all && i < order.size(); ++i) all = order[i] == static_cast<int64_t>(i);
  if (all) return x;
  Tensor y(x.dtype(), {rows, static_cast<int64_t>(order.size())});
  for (int64_t row = 0, to = 0; row < rows; ++row)
    for (const int64_t column : order) y.write_int(to++, x.read_int(row * width + column));
  return y;
}

std::vector<int64_t> counting(int64_t count) {
  std::vector<int64_t> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), int64_t{0});
  return values;
}

// Which columns of A and B share scales.
struct Grouping {
  std::vector<int64_t> order;     // of columns, so that each block is a run of them
  int64_t block;                  // columns in a block
  std::vector<int64_t> block_of;  // the given block of each block of columns; empty: the same one
};

// g_idx tells the block of each column. Where blocks differ in size, each column becomes a block of its own.
Grouping grouping_of(Context& ctx, const Sizes& s) {
  Grouping g{counting(s.k), s.block, {}};
  if (!ctx.has_input(4)) return g;
  const auto block_of = ctx.known_integers(4);
  if (!block_of || static_cast<int64_t>(block_of->size()) != s.k)
    ctx.unsupported("g_idx must be a constant of K numbers");
  const auto block = [&](int64_t column) { return (*block_of)[static_cast<size_t>(column)]; };
  std::stable_sort(g.order.begin(), g.order.end(), [&](int64_t a, int64_t b) { return block(a) < block(b); });
  for (size_t i = 0; i < g.order.size(); ++i)
    if (block(g.order[i]) != static_cast<int64_t>(i) / s.block) return {counting(s.k), 1, *block_of};
  return g;
}

Value* scales_of(Context& ctx, const Sizes& s, const Grouping& g) {
  Value* scales = ctx.reshape(ctx.input(2), {Dim(s.n), Dim(s.blocks())});
  return g.block_of.empty() ? scales : ctx.gather(scales, ctx.Emitter::integers(g.block_of), 1);
}

// Zero points are packed with each row on bytes of its own, or they are numbers.
Value* zeros_of(Context& ctx, const Sizes& s, const Grouping& g) {
  if (!ctx.has_input(3)) return nullptr;
  if (ctx.dtype(3) != DType::u8) {
    Value* zeros = ctx.cast(ctx.reshape(ctx.input(3), {Dim(s.n), Dim(s.blocks())}), ctx.dtype(2));
    return g.block_of.empty() ? zeros : ctx.gather(zeros, ctx.Emitter::integers(g.block_of), 1);
  }
  const int64_t padded = (s.blocks() * s.bits + 7) / 8 * 8 / s.bits;
  const Tensor zeros = packed(ctx, 3, s.dtype(), {s.n, padded});
  return ctx.constant(columns(zeros, g.block_of.empty() ? counting(s.blocks()) : g.block_of));
}

// A [.., K] times the transpose of B [N, K], whose rows are blocks of `block_size` numbers with a scale and a zero
// point each: (q - zero) * scale. Level 4 of accuracy is A rounded to 8 bits.
void import_matmul_nbits(Context& ctx) {
  const Sizes s(ctx);
  const Grouping g = grouping_of(ctx, s);
  const Tensor q = packed(ctx, 1, s.dtype(), {s.n, s.blocks() * s.block});
  Value* a = ctx.input(0);
  if (g.order != counting(s.k)) a = ctx.gather(a, ctx.Emitter::integers(g.order), ctx.rank(0) - 1);
  MatMulNBits op;
  op.block = g.block;
  op.round_rows = ctx.attr_int("accuracy_level", 0) == 4;
  std::vector<Value*> operands = {a, ctx.constant(columns(q, g.order)), scales_of(ctx, s, g), zeros_of(ctx, s, g)};
  if (ctx.has_input(5)) {
    operands.push_back(ctx.input(5));
    op.epilogue = bias_epilogue(ctx.dtype(0));
  } else if (operands.back() == nullptr) {
    operands.pop_back();
  }
  ctx.set_output(0, ctx.emit(std::move(op), std::move(operands)));
}

constexpr OpRow kRows[] = {
    {kMicrosoft, "MatMulNBits", 1, import_matmul_nbits},
};

}  // namespace

std::span<const OpRow> matmul_nbits_ops() { return kRows; }

}  // namespace lathe::onnx
