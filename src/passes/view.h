// Where the elements of a value lie in another one that reshapes, transposes, slices and broadcasts only move around:
// each axis is a list of (size, stride) pieces, row-major, over the base's elements. However an exporter spells "split
// the columns into heads", the strides come out the same, so fusions compare strides instead of spellings.
#pragma once

#include <optional>
#include <vector>

#include "graph/graph.h"

namespace lathe::passes {

struct Piece {
  Dim size;
  Dim stride;  // in elements of the base; 0 for a broadcast
  friend bool operator==(const Piece& a, const Piece& b) = default;
};
using Pieces = std::vector<Piece>;

struct View {
  Value* base = nullptr;
  Dim offset;
  double scale = 1;          // the elements are multiplied by this
  std::vector<Pieces> axes;  // of the value that was looked at; pieces of size 1 are left out
};

struct ViewOptions {
  bool through_scale = false;  // also through multiplication by a number
  bool through_slices = true;  // slices, look-ups of one row, broadcasts
};

// The view that `value` is of the farthest base that movement leads to; a trivial one if it is not moved at all.
View view_of(Value* value, const ViewOptions& options = {});
View trivial_view(Value* value);

// All pieces in order, neighbours joined where one stride continues the other.
Pieces joined(const std::vector<Pieces>& axes);
// The elements of the view in order are those of the base in order.
bool is_contiguous(const View& view);
// The pieces regrouped into axes of the given sizes; nullopt where a size does not fall on piece boundaries.
std::optional<std::vector<Pieces>> regrouped(const Pieces& pieces, const Shape& shape);
// The pieces as a single one; (1, 0) if there is none. nullopt if they do not join.
std::optional<Piece> single(const Pieces& pieces);

// Adds the reshape that gives `value` the shape, unless it has it.
Value* reshaped(Graph& graph, Node* position, Value* value, const Shape& shape);
Value* transposed(Graph& graph, Node* position, Value* value, std::vector<int64_t> perm);

}  // namespace lathe::passes
