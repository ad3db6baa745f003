// Appends nodes to the graph under construction: the small vocabulary in which importers say what an ONNX op means.
// Every member appends at the end; results are values of the graph.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace lathe::onnx {

enum class Sign { any, nonnegative };

class Emitter {
 public:
  Emitter(Graph& graph, std::string node_name) : graph_(graph), node_name_(std::move(node_name)) {}

  Graph& graph() const { return graph_; }
  Value* emit(Op op, std::vector<Value*> inputs) { return append(std::move(op), std::move(inputs), 1)->output(); }
  Node* append(Op op, std::vector<Value*> inputs, size_t num_outputs) {
    return graph_.append(std::move(op), std::move(inputs), num_outputs, node_name_);
  }

  Value* constant(Tensor tensor) { return emit(Constant{std::move(tensor)}, {}); }
  Value* scalar(double value, DType dtype);             // rank 0
  Value* integers(const std::vector<int64_t>& values);  // i64 [n]
  Value* dims(Shape values) { return emit(Dims{std::move(values), false}, {}); }

  // One Map over `inputs`; build(program, instruction of each input) returns the result's instruction.
  template <class Build>
  Value* map(std::vector<Value*> inputs, Build&& build, std::optional<Shape> shape = {}) {
    MapProgram program = make_program(inputs, std::forward<Build>(build));
    return emit(Map{std::move(program), std::move(shape)}, std::move(inputs));
  }
  template <class Build>
  static MapProgram make_program(const std::vector<Value*>& inputs, Build&& build) {
    MapProgram program;
    std::vector<int> args;
    for (size_t i = 0; i < inputs.size(); ++i) args.push_back(program.input(static_cast<int>(i), inputs[i]->dtype()));
    program.finish(build(program, args));
    return program;
  }
  Value* unary(MapOp op, Value* x) { return emit(Map{unary_program(op, x->dtype()), {}}, {x}); }
  Value* binary(MapOp op, Value* a, Value* b) { return emit(Map{binary_program(op, a->dtype()), {}}, {a, b}); }
  // x itself when it has the type already.
  Value* cast(Value* x, DType dtype);
  // An i64 tensor of this shape counting along `axis_from_end` (negative).
  Value* iota(Shape shape, int axis_from_end);

  // These return x itself when there is nothing to do.
  Value* reshape(Value* x, Shape shape);
  Value* transpose(Value* x, std::vector<int64_t> perm);
  Value* expand(Value* x, Shape shape);
  // `count` elements from `start` along one axis.
  Value* slice(Value* x, int64_t axis, Dim start, Dim count, int64_t step = 1);
  Value* concat(std::vector<Value*> parts, int64_t axis);
  // Axes of size 1 inserted at (the result's) `axes`, or dropped; sorted and not negative.
  Value* unsqueeze(Value* x, const std::vector<int64_t>& axes);
  Value* squeeze(Value* x, const std::vector<int64_t>& axes);
  Value* reduce(ReduceKind kind, Value* x, std::vector<int64_t> axes, bool keep_dims = true);
  Value* gather(Value* x, Value* indices, int64_t axis) { return emit(Gather{axis}, {x, indices}); }
  Value* matmul(Value* a, Value* b, bool trans_a = false, bool trans_b = false);

  // Names for the run-time values of an integer tensor with `count` elements, for use in sizes of later nodes.
  Shape bind(Value* integers, int64_t count, Sign sign);

 private:
  Graph& graph_;
  std::string node_name_;
};

}  // namespace lathe::onnx
