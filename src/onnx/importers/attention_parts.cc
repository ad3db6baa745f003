#include "onnx/importers/attention_parts.h"

#include <limits>

namespace lathe::onnx {

Heads plain_heads(Context& ctx, Value* value, int64_t dim) {
  const int64_t rank = value->type().rank();
  if (rank == 4) return {value, HeadOrder::head_major, 0, 0};
  if (rank != 3) ctx.invalid("queries, keys and values must have rank 3 or 4");
  return {value, HeadOrder::token_major, 0, dim};
}

const Dim& sequence_length(const Heads& h) { return h.value->shape()[h.order == HeadOrder::head_major ? 2 : 1]; }

Value* head_major(Emitter& emitter, const Heads& h, int64_t heads, int64_t dim) {
  if (h.order == HeadOrder::head_major) return h.value;
  const Shape& shape = h.value->shape();
  // Side by side, the heads are a block of columns from `offset`; interleaved with others, each is a part of its
  // stride.
  Value* x = h.value;
  const Dim block = Dim(heads * h.stride);
  if (!(shape[2] == block)) x = emitter.slice(x, 2, h.stride == dim ? h.offset : 0, block);
  x = emitter.reshape(x, {shape[0], shape[1], Dim(heads), Dim(h.stride)});
  if (h.stride != dim) x = emitter.slice(x, 3, h.offset, dim);
  return emitter.transpose(x, {0, 2, 1, 3});
}

Heads with_past(Emitter& emitter, Value* past, const Heads& h, int64_t heads, int64_t dim) {
  if (past == nullptr) return h;
  return {emitter.concat({past, head_major(emitter, h, heads, dim)}, 2), HeadOrder::head_major, 0, 0};
}

int64_t known_size(Context& ctx, const Dim& size, std::string_view what) {
  if (!size.is_constant()) ctx.unsupported(fmt::format("{} must be known at import, it is {}", what, size.to_string()));
  if (size.value() <= 0) ctx.invalid(fmt::format("{} is {}", what, size.value()));
  return size.value();
}

int Score::extra(Value* value) {
  extras_.push_back(value);
  return program_.input(static_cast<int>(extras_.size()), value->dtype());
}

void Score::mask(int keep) { score_ = program_.select(keep, score_, number(-std::numeric_limits<double>::infinity())); }

void Score::soft_cap(double cap) {
  if (cap == 0) return;
  const int limit = number(cap);
  score_ = program_.binary(MapOp::mul, program_.unary(MapOp::tanh, program_.binary(MapOp::div, score_, limit)), limit);
}

MapProgram Score::finished() const {
  MapProgram program = program_;
  program.finish(score_);
  return program;
}

std::vector<Value*> Score::finish(Attention& op, const Heads& q, const Heads& k, const Heads& v) {
  op.q_order = q.order;
  op.k_order = k.order;
  op.v_order = v.order;
  op.q_offset = q.offset;
  op.q_stride = q.stride;
  op.k_offset = k.offset;
  op.k_stride = k.stride;
  op.v_offset = v.offset;
  op.v_stride = v.stride;
  std::vector<Value*> operands = {q.value, k.value, v.value};
  if (empty()) return operands;
  op.score = finished();
  operands.insert(operands.end(), extras_.begin(), extras_.end());
  return operands;
}

}  // namespace lathe::onnx
