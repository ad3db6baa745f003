#include "passes/attention_operand.h"

#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

struct Strides {
  Piece batch, heads, length, features;  // size 1 stands for "not there"; heads without the broadcast ones
};

bool absent(const Piece& p) { return p.size == Dim(1); }
bool has_stride(const Piece& p, const Dim& stride) { return absent(p) || p.stride == stride; }

// The heads that are stored: key heads shared by groups of query heads are an outer piece and a broadcast inner one.
std::optional<Piece> stored_heads(const Pieces& pieces) {
  Pieces stored = pieces;
  if (!stored.empty() && stored.back().stride == Dim(0)) stored.pop_back();
  return single(stored);
}

std::optional<Strides> strides_of(const View& view, bool swapped, const HeadAxes& axes) {
  const size_t rank = view.axes.size();
  if (rank < 3) return std::nullopt;
  const std::vector<Pieces> leading(view.axes.begin(), view.axes.end() - 2);
  std::optional<std::vector<Pieces>> split;
  if (rank == 4)
    split = leading;
  else
    split = regrouped(joined(leading), {axes.batch, axes.heads});
  if (!split) return std::nullopt;
  const auto batch = single((*split)[0]), heads = stored_heads((*split)[1]);
  const auto length = single(view.axes[rank - (swapped ? 1 : 2)]),
             features = single(view.axes[rank - (swapped ? 2 : 1)]);
  if (!batch || !heads || !length || !features) return std::nullopt;
  if (!(batch->size == axes.batch) || !(length->size == axes.length) || !(features->size == axes.features))
    return std::nullopt;
  return Strides{*batch, *heads, *length, *features};
}

// [batch, length, columns] or [length, batch, columns].
bool fits_columns(const Strides& s, const View& view, HeadOrder order, AttentionOperand& operand) {
  const bool token_major = order == HeadOrder::token_major;
  const Piece& outer = token_major ? s.batch : s.length;
  const Piece& inner = token_major ? s.length : s.batch;
  const Dim total = product(view.base->shape());
  const Dim columns = !absent(inner) ? inner.stride : (!absent(outer) ? outer.stride : total);
  if (!has_stride(outer, columns * inner.size) || !has_stride(s.features, 1)) return false;
  if (!(total == outer.size * inner.size * columns)) return false;
  if (!view.offset.is_constant() || (!absent(s.heads) && !s.heads.stride.is_constant())) return false;
  const int64_t heads = s.heads.size.value(), features = s.features.size.value(), offset = view.offset.value();
  const int64_t stride = absent(s.heads) ? features : s.heads.stride.value();
  if (offset < 0 || (heads > 1 && stride < features)) return false;
  if (columns.is_constant() && offset + (heads - 1) * stride + features > columns.value()) return false;
  operand.order = order;
  operand.shape = {outer.size, inner.size, columns};
  operand.heads = heads;
  operand.offset = offset;
  operand.stride = stride;
  return true;
}

// [batch, heads, length, features] or, transposed, [batch, heads, features, length].
bool fits_heads(const Strides& s, const View& view, HeadOrder order, AttentionOperand& operand) {
  const Piece& row = order == HeadOrder::head_major ? s.length : s.features;
  const Piece& column = order == HeadOrder::head_major ? s.features : s.length;
  const Dim matrix = row.size * column.size;
  if (!has_stride(column, 1) || !has_stride(row, column.size) || !has_stride(s.heads, matrix)) return false;
  if (!has_stride(s.batch, matrix * s.heads.size) || !(view.offset == Dim(0))) return false;
  if (!(product(view.base->shape()) == matrix * s.heads.size * s.batch.size)) return false;
  operand.order = order;
  operand.shape = {s.batch.size, s.heads.size, row.size, column.size};
  operand.heads = s.heads.size.value();
  return true;
}

std::optional<AttentionOperand> classify(const View& view, bool swapped, const HeadAxes& axes) {
  const auto strides = strides_of(view, swapped, axes);
  if (!strides || !strides->heads.size.is_constant() || !strides->features.size.is_constant()) return std::nullopt;
  AttentionOperand operand;
  operand.base = view.base;
  operand.scale = view.scale;
  if (fits_columns(*strides, view, HeadOrder::token_major, operand)) return operand;
  if (fits_columns(*strides, view, HeadOrder::seq_major, operand)) return operand;
  if (fits_heads(*strides, view, HeadOrder::head_major, operand)) return operand;
  if (fits_heads(*strides, view, HeadOrder::transposed, operand)) return operand;
  return std::nullopt;
}

}  // namespace

std::optional<AttentionOperand> attention_operand(Value* value, bool swapped, const HeadAxes& axes, bool scaled) {
  ViewOptions far;
  far.through_scale = scaled;
  if (auto operand = classify(view_of(value, far), swapped, axes)) return operand;
  return classify(trivial_view(value), swapped, axes);
}

}  // namespace lathe::passes
