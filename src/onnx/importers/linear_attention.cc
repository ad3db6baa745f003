// Attention without softmax (opset 27): a state per head that takes in one token after the other, as a scan over
// tokens.
#include <cmath>

#include "onnx/importers/attention_parts.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

struct LinearAttention {
  int64_t heads = 1, kv_heads = 1, key_dim = 0, value_dim = 0;
  double scale = 1;
  bool gated = false, delta = false;
};

LinearAttention read_op(Context& ctx) {
  LinearAttention op;
  op.heads = ctx.required_int("q_num_heads");
  op.kv_heads = ctx.required_int("kv_num_heads");
  if (op.heads <= 0 || op.kv_heads <= 0 || op.heads % op.kv_heads != 0) ctx.invalid("the numbers of heads do not fit");
  op.key_dim = known_size(ctx, floor_div(ctx.shape(1).back(), Dim(op.kv_heads)), "the width of a key");
  op.value_dim = known_size(ctx, floor_div(ctx.shape(2).back(), Dim(op.kv_heads)), "the width of a value");
  op.scale = ctx.attr_float("scale", 0);
  if (op.scale == 0) op.scale = 1 / std::sqrt(static_cast<double>(op.key_dim));
  const std::string rule = ctx.attr_string("update_rule", "gated_delta");
  op.gated = rule.starts_with("gated");
  op.delta = rule.ends_with("delta");
  if (!op.gated && !op.delta && rule != "linear") ctx.invalid(fmt::format("there is no update rule '{}'", rule));
  return op;
}

// [batch, tokens, columns] as f32 [batch, tokens, groups.., columns of a group]: what the scan takes slices of.
Value* by_token(Context& ctx, size_t input, std::initializer_list<int64_t> groups) {
  const Shape& shape = ctx.shape(input);
  Shape split = {shape[0], shape[1]};
  split.insert(split.end(), groups.begin(), groups.end());
  return ctx.reshape(ctx.cast(ctx.input(input), DType::f32), std::move(split));
}

// state [batch, heads, key, value] and one token's slices to the next state.
Value* next_state(Emitter& e, const LinearAttention& op, Value* state, Value* key, Value* value, Value* decay,
                  Value* rate) {
  if (decay != nullptr)
    state = e.map({state, decay}, [](MapProgram& p, const auto& in) {
      return p.binary(MapOp::mul, in[0], p.unary(MapOp::exp, in[1]));
    });
  Value* news = value;
  if (op.delta) {
    Value* known = e.matmul(key, state);
    news = e.map({value, known, rate}, [](MapProgram& p, const auto& in) {
      return p.binary(MapOp::mul, in[2], p.binary(MapOp::sub, in[0], in[1]));
    });
  }
  return e.binary(MapOp::add, state, e.matmul(key, news, true));
}

// The body's inputs are the state and the slices of `operands`, which have lost their axis of tokens.
std::unique_ptr<Graph> make_body(Context& ctx, const LinearAttention& op, const std::vector<Value*>& operands) {
  auto body = std::make_unique<Graph>(ctx.graph().shared_symbols());
  std::vector<Value*> in;
  for (size_t i = 0; i < operands.size(); ++i) {
    Type type = operands[i]->type();
    if (i > 0) type.shape.erase(type.shape.begin() + 1);
    in.push_back(body->add_input(fmt::format("operand_{}", i), std::move(type)));
  }
  Emitter e(*body, std::string(ctx.name()));
  const Dim batch = in[0]->shape()[0];
  Value* decay = op.gated ? in[4] : nullptr;
  Value* state = next_state(e, op, in[0], in[2], in[3], decay, op.delta ? in.back() : nullptr);
  Value* read = e.matmul(in[1], state);
  read = e.binary(MapOp::mul, read, e.scalar(op.scale, DType::f32));
  body->add_output(state, "state");
  body->add_output(e.reshape(read, {batch, Dim(op.heads * op.value_dim)}), "read");
  return body;
}

void import_linear_attention(Context& ctx) {
  const LinearAttention op = read_op(ctx);
  const Dim batch = ctx.shape(0)[0];
  const Shape state_shape = {batch, Dim(op.kv_heads), Dim(op.key_dim), Dim(op.value_dim)};
  Value* state =
      ctx.has_input(3) ? ctx.cast(ctx.input(3), DType::f32) : ctx.expand(ctx.scalar(0, DType::f32), state_shape);
  std::vector<Value*> operands = {state, by_token(ctx, 0, {op.kv_heads, op.heads / op.kv_heads, op.key_dim}),
                                  by_token(ctx, 1, {op.kv_heads, 1, op.key_dim}),
                                  by_token(ctx, 2, {op.kv_heads, 1, op.value_dim})};
  if (op.gated) {  // one decay for each head, or for each of its keys
    const int64_t columns = known_size(ctx, ctx.shape(4).back(), "the number of decays");
    operands.push_back(by_token(ctx, 4, {op.kv_heads, columns / op.kv_heads, 1}));
  }
  if (op.delta)
    operands.push_back(by_token(ctx, 5, {known_size(ctx, ctx.shape(5).back(), "the number of rates"), 1, 1}));
  Scan scan;
  scan.num_states = 1;
  scan.num_scanned = static_cast<int64_t>(operands.size()) - 1;
  scan.input_axes.assign(operands.size() - 1, 1);
  scan.input_reversed.assign(operands.size() - 1, 0);
  scan.output_axes = {1};
  scan.output_reversed = {0};
  scan.body = Region(make_body(ctx, op, operands));
  Node* node = ctx.append(std::move(scan), std::move(operands), 2);
  ctx.set_output(0, ctx.cast(node->output(1), ctx.dtype(0)));
  ctx.set_output(1, ctx.cast(node->output(0), ctx.has_input(3) ? ctx.dtype(3) : ctx.dtype(0)));
}

constexpr OpRow kRows[] = {
    {"", "LinearAttention", 27, import_linear_attention},
};

}  // namespace

std::span<const OpRow> linear_attention_ops() { return kRows; }

}  // namespace lathe::onnx
