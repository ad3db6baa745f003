// A stored matrix that holds one number on and below a diagonal and another above it becomes a program over positions.
// Every element is checked, so this is exact; attention can then see that the mask is causal.
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

struct Triangle {
  double below = 0, above = 0;
  int64_t diagonal = 0;  // element (q, k) is `below` where k <= q + diagonal
};

std::optional<Triangle> match_triangle(const Tensor& t) {
  const int64_t rank = t.rank();
  if (rank < 2 || t.elements() < 4 || t.dtype() == DType::string || bit_width(t.dtype()) > 64) return std::nullopt;
  const int64_t rows = t.dims()[static_cast<size_t>(rank - 2)], columns = t.dims()[static_cast<size_t>(rank - 1)];
  if (rows < 2 || columns < 2 || rows * columns != t.elements()) return std::nullopt;
  Triangle r;
  r.below = t.read_double(0);
  int64_t width = 1;
  while (width < columns && t.read_double(width) == r.below) ++width;
  if (width == columns) return std::nullopt;
  r.above = t.read_double(width);
  r.diagonal = width - 1;
  for (int64_t q = 0; q < rows; ++q)
    for (int64_t k = 0; k < columns; ++k)
      if (t.read_double(q * columns + k) != (k <= q + r.diagonal ? r.below : r.above)) return std::nullopt;
  return r;
}

MapProgram program_of(const Triangle& t, DType dtype) {
  MapProgram p;
  const int key = p.iota(-1), query = p.iota(-2);
  const int limit = t.diagonal == 0 ? query : p.binary(MapOp::add, query, p.constant_int(t.diagonal, DType::i64));
  const int inside = p.binary(MapOp::le, key, limit);
  const auto number = [&](double v) {
    return is_float(dtype) ? p.constant(v, dtype) : p.constant_int(static_cast<int64_t>(v), dtype);
  };
  if (dtype == DType::boolean && t.below == 1 && t.above == 0) {
    p.finish(inside);
  } else if (dtype == DType::boolean) {
    p.finish(p.unary(MapOp::logical_not, inside));
  } else {
    const int below = number(t.below), above = number(t.above);
    p.finish(p.select(inside, below, above));
  }
  return p;
}

// Only what is used as a mask is worth it: elementwise work, perhaps behind a slice.
bool is_used_as_mask(const Value* value) {
  const auto masks = [](const Node* user) { return user->is<Map>() || user->is<Slice>(); };
  return !value->is_output() && !value->users().empty() &&
         std::all_of(value->users().begin(), value->users().end(), masks);
}

bool recognise(Graph& graph, Node& node) {
  const Constant* constant = node.as<Constant>();
  if (constant == nullptr || !is_used_as_mask(node.output())) return false;
  const auto triangle = match_triangle(constant->value);
  if (!triangle) return false;
  replace(graph, &node, node.output(), Map{program_of(*triangle, constant->value.dtype()), node.output()->shape()}, {});
  return true;
}

}  // namespace

int recognise_masks(Graph& graph) { return rewrite_nodes(graph, recognise); }

}  // namespace lathe::passes
