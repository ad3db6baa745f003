// The closed set of ops. An op is plain data: typed fields, no behaviour. Whatever works on ops (shape inference,
// reference evaluator, lowering, passes) visits the variant exhaustively, so a new op that is not handled somewhere
// does not compile.
#pragma once

#include <span>
#include <variant>

#include "graph/ops/attention.h"
#include "graph/ops/constant.h"
#include "graph/ops/control.h"
#include "graph/ops/conv.h"
#include "graph/ops/embedding.h"
#include "graph/ops/extern.h"
#include "graph/ops/gather.h"
#include "graph/ops/grouped_matmul.h"
#include "graph/ops/map.h"
#include "graph/ops/matmul.h"
#include "graph/ops/matmul_nbits.h"
#include "graph/ops/movement.h"
#include "graph/ops/norm.h"
#include "graph/ops/pack_tokens.h"
#include "graph/ops/paged_attention.h"
#include "graph/ops/pool.h"
#include "graph/ops/quantize.h"
#include "graph/ops/reduce.h"
#include "graph/ops/resize.h"
#include "graph/ops/rnn.h"
#include "graph/ops/select.h"
#include "graph/ops/sequence.h"
#include "graph/ops/softmax.h"

namespace lathe {

using AnyOp = std::variant<
    // sources
    Constant, Dims, Bind,
    // arithmetic
    Map, Reduce, ArgReduce, Cumulative, MatMul, MatMulNBits, GroupedMatMul, Conv, ConvTranspose, Pool, Norm, GroupNorm,
    Softmax, Attention, PagedAttention, Rotary, Embedding, Resize, Rnn, DynamicQuantize,
    // data movement
    Reshape, Transpose, Slice, Concat, Pad, ReverseSequence, Gather, GatherElements, GatherNd, ScatterElements,
    ScatterNd,
    // selection
    TopK, NonZero, Nms, PackTokens,
    // structure
    If, Loop, Scan, Sequence,
    // everything else
    Extern>;

template <class T>
concept OneOfOps = requires(AnyOp op) {
  std::get<T>(op);
};

// A variant like any other to those who visit it. Its special members are in op.cc: every file that holds an op would
// otherwise compile those of all alternatives again, which took half of the time of this header.
class Op : public AnyOp {
 public:
  Op();
  template <OneOfOps T>
  Op(T op);  // NOLINT(google-explicit-constructor): any alternative is an op
  Op(const Op& other);
  Op(Op&& other) noexcept;
  Op& operator=(const Op& other);
  Op& operator=(Op&& other) noexcept;
  ~Op();
};

std::string_view op_name(const Op& op);
std::optional<Op> op_from_name(std::string_view name);  // with default fields
bool op_equal(const Op& a, const Op& b);                // same kind, same fields (tensors and regions included)
// The regions of a control-flow op, in field order; empty for the rest.
std::vector<Region*> regions_of(Op& op);
std::vector<const Region*> regions_of(const Op& op);
// The operands that a node with this op updates in place, as the values that it leaves in them. Such an operand is
// state: an input of the model that this node alone uses, once, so that the graph stays in SSA form otherwise. Whoever
// runs the graph binds memory that may be written.
std::span<const size_t> written_operands(const Op& op);

}  // namespace lathe
