// matmul(q, k^T) -> scores -> softmax -> matmul(.., v), in any exporter's spelling, becomes one attention op. How heads
// are split is read from strides (attention_operand.h), what happens to the scores is collected as a program
// (attention_score.h), so nothing here knows of models or exporters.
#include "passes/attention_operand.h"
#include "passes/attention_score.h"
#include "passes/expr.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

// The softmax that gives the weights of a weighted sum: behind casts, regrouping of leading axes, and the guard that
// turns rows of NaN (all keys masked) into 0, which attention does anyway.
Node* find_softmax(Value* weights) {
  for (int depth = 0; depth < 8 && weights != nullptr && !weights->is_output(); ++depth) {
    Node* node = weights->producer();
    if (node == nullptr) return nullptr;
    if (const Softmax* softmax = node->as<Softmax>()) {
      const bool last = weights->type().ranked && softmax->axis + 1 == static_cast<int64_t>(weights->shape().size());
      return last && !softmax->log ? node : nullptr;
    }
    if (node->is<Reshape>()) {
      if (!keeps_rows(node->input(0)->shape(), weights->shape())) return nullptr;
      weights = node->input(0);
      continue;
    }
    if (!node->is<Map>()) return nullptr;
    Expr e = Expr(weights).without_casts();
    const bool guarded = e.op() == MapOp::select && e.arg(0).op() == MapOp::is_nan && e.arg(0).arg(0) == e.arg(2) &&
                         e.arg(1).number() == 0.0;
    if (guarded) e = e.arg(2).without_casts();
    if (e.value() == nullptr || e.value() == weights) return nullptr;
    weights = e.value();
  }
  return nullptr;
}

// The matmuls that a value is computed from by elementwise work and reshapes, nearest first.
void find_products(Value* value, std::vector<Node*>& found, int depth = 0) {
  Node* node = value->producer();
  if (node == nullptr || depth > 16 || found.size() > 4) return;
  if (const MatMul* m = node->as<MatMul>()) {
    if (m->epilogue.empty() && std::find(found.begin(), found.end(), node) == found.end()) found.push_back(node);
    return;
  }
  if (!node->is<Map>() && !node->is<Reshape>()) return;
  for (Value* v : node->inputs()) find_products(v, found, depth + 1);
}

struct Match {
  AttentionOperand q, k, v;
  Shape space;  // [batch, heads, queries, keys]
  int64_t head_dim = 0, value_dim = 0;
};

// Batch and heads of the scores. Where they are one axis, the strides of the queries tell them apart.
std::optional<std::pair<Dim, Dim>> batch_and_heads(const Value* scores, Value* queries) {
  const Shape& shape = scores->shape();
  if (shape.size() == 4) return std::pair(shape[0], shape[1]);
  if (shape.size() != 3) return std::nullopt;
  ViewOptions far;
  far.through_scale = true;
  const View view = view_of(queries, far);
  if (view.axes.size() == 4 && queries->shape().size() == 4) return std::pair(queries->shape()[0], queries->shape()[1]);
  if (view.axes.size() != 3) return std::nullopt;
  const Pieces pieces = joined({view.axes[0]});
  if (pieces.size() == 2 && pieces[1].size.is_constant()) return std::pair(pieces[0].size, pieces[1].size);
  // One piece of constant size inside the columns of a token: the heads of a batch of one.
  const bool heads_only = pieces.size() == 1 && pieces[0].size.is_constant() && pieces[0].size == shape[0] &&
                          !view.axes[1].empty() && view.axes[1].back().stride.is_constant() &&
                          pieces[0].stride.is_constant() &&
                          pieces[0].stride.value() < view.axes[1].back().stride.value();
  if (heads_only) return std::pair(Dim(1), pieces[0].size);
  return std::pair(shape[0], Dim(1));
}

std::optional<Match> match_operands(const Node& product, const Node& sum, const Value* scores) {
  const MatMul &qk = *product.as<MatMul>(), &av = *sum.as<MatMul>();
  Value *q = product.input(0), *k = product.input(1), *v = sum.input(1);
  for (const Value* x : {q, k, v})
    if (!x->type().ranked || x->shape().size() < 3 || x->shape().size() > 4) return std::nullopt;
  const auto leading = batch_and_heads(scores, q);
  if (!leading || !leading->second.is_constant()) return std::nullopt;
  const Dim features = q->shape().end()[qk.trans_a ? -2 : -1], queries = q->shape().end()[qk.trans_a ? -1 : -2];
  const Dim keys = k->shape().end()[qk.trans_b ? -2 : -1], value_features = v->shape().end()[av.trans_b ? -2 : -1];
  if (!features.is_constant() || !value_features.is_constant()) return std::nullopt;
  const auto& [batch, heads] = *leading;
  const auto query = attention_operand(q, qk.trans_a, {batch, heads, queries, features}, true);
  const auto key = attention_operand(k, !qk.trans_b, {batch, heads, keys, features}, true);
  const auto value = attention_operand(v, av.trans_b, {batch, heads, keys, value_features}, false);
  if (!query || !key || !value || query->order == HeadOrder::transposed) return std::nullopt;
  const DType dtype = query->base->dtype();  // operands of mixed precision stay products
  if (key->base->dtype() != dtype || value->base->dtype() != dtype) return std::nullopt;
  if (!(Dim(query->heads) == heads) || key->heads != value->heads || query->heads % key->heads != 0)
    return std::nullopt;
  return Match{*query, *key, *value, {batch, heads, queries, keys}, features.value(), value_features.value()};
}

Attention attention_op(const Match& m) {
  Attention op;
  op.heads = m.q.heads;
  op.kv_heads = m.k.heads;
  op.head_dim = m.head_dim;
  op.value_dim = m.value_dim;
  op.q_order = m.q.order;
  op.k_order = m.k.order;
  op.v_order = m.v.order;
  op.output_order = m.q.order == HeadOrder::seq_major ? HeadOrder::seq_major : HeadOrder::token_major;
  op.q_offset = m.q.offset;
  op.q_stride = m.q.stride;
  op.k_offset = m.k.offset;
  op.k_stride = m.k.stride;
  op.v_offset = m.v.offset;
  op.v_stride = m.v.stride;
  return op;
}

// The attention's result moved to [batch, heads, queries, value_dim] and regrouped as the matmul gave it.
Value* as_matmul_result(Graph& graph, Node& sum, const Match& m, HeadOrder order, Value* result) {
  const Dim &batch = m.space[0], &heads = m.space[1], &queries = m.space[2];
  const bool seq_major = order == HeadOrder::seq_major;
  const Shape split = seq_major ? Shape{queries, batch, heads, m.value_dim} : Shape{batch, queries, heads, m.value_dim};
  Value* v = reshaped(graph, &sum, result, split);
  v = transposed(graph, &sum, v, seq_major ? std::vector<int64_t>{1, 2, 0, 3} : std::vector<int64_t>{0, 2, 1, 3});
  return reshaped(graph, &sum, v, sum.output()->shape());
}

bool fuse_product(Graph& graph, Node& sum, Node& product, Value* scores) {
  const auto match = match_operands(product, sum, scores);
  if (!match) return false;
  auto score = score_program(graph, &sum, product.output(), scores, match->space);
  if (!score) return false;
  Attention op = attention_op(*match);
  op.scale = match->q.scale * match->k.scale * score->scale;
  op.causal = score->causal;
  op.causal_offset = score->causal_offset;
  op.score = std::move(score->program);
  const HeadOrder order = op.output_order;
  std::vector<Value*> inputs = {reshaped(graph, &sum, match->q.base, match->q.shape),
                                reshaped(graph, &sum, match->k.base, match->k.shape),
                                reshaped(graph, &sum, match->v.base, match->v.shape)};
  inputs.insert(inputs.end(), score->extras.begin(), score->extras.end());
  Value* result = insert(graph, &sum, std::move(op), std::move(inputs));
  graph.replace_uses(sum.output(), as_matmul_result(graph, sum, *match, order, result));
  return true;
}

bool fuse(Graph& graph, Node& node) {
  const MatMul* sum = node.as<MatMul>();
  if (sum == nullptr || sum->trans_a || !sum->epilogue.empty() || !node.output()->type().ranked) return false;
  if (!is_float(node.output()->dtype())) return false;
  const Node* softmax = find_softmax(node.input(0));
  if (softmax == nullptr) return false;
  Value* scores = softmax->input(0);
  std::vector<Node*> products;
  find_products(scores, products);
  return std::any_of(products.begin(), products.end(),
                     [&](Node* product) { return fuse_product(graph, node, *product, scores); });
}

}  // namespace

int fuse_attention(Graph& graph) { return rewrite_nodes(graph, fuse); }

}  // namespace lathe::passes
