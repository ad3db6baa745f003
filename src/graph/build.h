// Short spellings for the nodes that importers and passes make most. Each adds at most one node and returns its result,
// or the operand itself where there is nothing to do. Axes may be negative: they count from the end then.
#pragma once

#include <vector>

#include "graph/graph.h"

namespace lathe {

// Where the new nodes go: the end of a graph, or before a node.
struct Place {
  Graph& graph;
  Node* before = nullptr;
  // NOLINTNEXTLINE(google-explicit-constructor): a graph is a place
  Place(Graph& g, Node* b = nullptr) : graph(g), before(b) {}
};

Value* emit(Place at, Op op, std::vector<Value*> inputs);

Value* constant(Place at, Tensor value);
Value* scalar(Place at, double value, DType dtype);

// One map instruction; operands of one element type, broadcast.
Value* map1(Place at, MapOp op, Value* x);
Value* map2(Place at, MapOp op, Value* a, Value* b);
Value* cast(Place at, Value* x, DType dtype);
Value* broadcast_to(Place at, Value* x, Shape shape);

Value* reshape(Place at, Value* x, Shape shape);
Value* transpose(Place at, Value* x, std::vector<int64_t> perm);
Value* slice_axis(Place at, Value* x, int64_t axis, Dim start, Dim size);
Value* concat(Place at, std::vector<Value*> parts, int64_t axis);
Value* reduce(Place at, ReduceKind kind, Value* x, std::vector<int64_t> axes, bool keep_dims);
Value* matmul(Place at, Value* a, Value* b);

}  // namespace lathe
