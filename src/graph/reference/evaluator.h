// The reference evaluator: runs one op or a whole graph on the host, slowly and exactly. It is the meaning of the ops:
// constant folding uses it, and every kernel of every backend is tested against it. Sums of floats accumulate in double
// (integers in 64 bits) and are rounded to the element type once; programs round after each instruction
// (map_program.h).
#pragma once

#include <functional>
#include <span>
#include <variant>
#include <vector>

#include "graph/bindings.h"
#include "graph/graph.h"
#include "graph/op.h"
#include "graph/tensor.h"

namespace lathe {

// A run-time value: an empty optional, a tensor, or a sequence. An optional that holds something is represented by what
// it holds, since every op that takes an optional takes the bare value too.
using RefValue = std::variant<std::monostate, Tensor, std::vector<Tensor>>;

// Evaluates one op. `inputs` holds null for absent optional operands; dimensions of the op are evaluated through
// `symbols`, and Bind adds to them. Results are the node's outputs, followed by the new contents of the operands that
// the op writes. Throws Error that names the sizes or types that do not fit.
std::vector<RefValue> evaluate_op(const Op& op, std::span<const RefValue* const> inputs, size_t num_outputs,
                                  SymbolBindings& symbols);

// Called after each node of the graph itself (not of its regions), with the node's outputs.
using RefObserver = std::function<void(const Node&, std::span<const RefValue>)>;

// Evaluates a graph. A dimension of an input type that is a bare symbol without a value in `symbols` binds it; every
// other dimension is checked against the input's, and a mismatch is an Error(invalid_argument). Data-dependent sizes
// bind their symbols as the nodes run. Values are freed after their last use. Results are the graph's outputs, followed
// by the new contents of the inputs that are state, in the order of the inputs.
std::vector<RefValue> evaluate(const Graph& graph, std::span<const RefValue> inputs, SymbolBindings& symbols,
                               const RefObserver& observer = {});
std::vector<RefValue> evaluate(const Graph& graph, std::span<const RefValue> inputs, const RefObserver& observer = {});

}  // namespace lathe
