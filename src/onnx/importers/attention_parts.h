// What the importers of all attention ops share: operands as heads, key/value caches, and the score program.
#pragma once

#include "onnx/importers/context.h"

namespace lathe::onnx {

// One of query, key, value and where its heads lie in it (graph/ops/attention.h).
struct Heads {
  Value* value = nullptr;
  HeadOrder order = HeadOrder::token_major;
  int64_t offset = 0;
  int64_t stride = 0;
};

// [batch, seq, heads * dim] or [batch, heads, seq, dim], by rank.
Heads plain_heads(Context& ctx, Value* value, int64_t dim);
// [batch, heads, seq, dim], whatever the order.
Value* head_major(Emitter& emitter, const Heads& h, int64_t heads, int64_t dim);
const Dim& sequence_length(const Heads& h);

// past [batch, heads, seq, dim] and the new keys (or values) after it; the new ones alone without a past.
Heads with_past(Emitter& emitter, Value* past, const Heads& h, int64_t heads, int64_t dim);

// The size of a dimension that must be known at import.
int64_t known_size(Context& ctx, const Dim& size, std::string_view what);

// The program that turns scaled products into scores, built step by step, and its extra operands.
class Score {
 public:
  explicit Score(DType dtype) : dtype_(dtype), score_(program_.input(0, dtype)) {}

  MapProgram& program() { return program_; }
  DType dtype() const { return dtype_; }
  // The instruction of an extra operand, broadcast to [batch, heads, queries, keys].
  int extra(Value* value);
  int number(double value) { return program_.constant(value, dtype_); }
  int score() const { return score_; }

  void set(int instruction) { score_ = instruction; }
  void add(int instruction) { score_ = program_.binary(MapOp::add, score_, instruction); }
  void add_bias(Value* bias) { add(program_.cast(extra(bias), dtype_)); }
  // Scores where `keep` (a bool instruction) is false are moved by `filter`.
  void filter(int keep, double filter) { add(program_.select(keep, number(0), number(filter))); }
  // Scores where `keep` is false become -inf.
  void mask(int keep);
  void soft_cap(double cap);  // cap * tanh(score / cap); 0: none

  bool empty() const { return score_ == 0; }
  // Puts the program into `op` and gives the operands of the node.
  std::vector<Value*> finish(Attention& op, const Heads& q, const Heads& k, const Heads& v);
  MapProgram finished() const;
  const std::vector<Value*>& extras() const { return extras_; }

 private:
  DType dtype_;
  MapProgram program_;
  int score_;
  std::vector<Value*> extras_;
};

}  // namespace lathe::onnx
