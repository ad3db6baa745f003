#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

Attention attention(int64_t heads, int64_t kv_heads, int64_t dim) {
  Attention op;
  op.heads = heads;
  op.kv_heads = kv_heads;
  op.head_dim = op.value_dim = dim;
  op.q_stride = op.k_stride = op.v_stride = dim;
  op.scale = 0.5;
  return op;
}

// [batch, seq, heads * dim] to [batch, heads, seq, dim].
Tensor split_heads(const Tensor& x, int64_t heads) {
  const Sizes& d = x.dims();
  return run1(Transpose{{0, 2, 1, 3}}, {x.reshaped({d[0], d[1], heads, d[2] / heads})});
}

TEST(ReferenceAttention, IsSoftmaxBetweenTwoProducts) {
  const Tensor q = noise({2, 3, 4}, 1), k = noise({2, 5, 4}, 2), v = noise({2, 5, 4}, 3);
  const Tensor scores = run1(MatMul{false, true, {}}, {split_heads(q, 2), split_heads(k, 2)});
  MapProgram half;
  half.finish(half.binary(MapOp::mul, half.input(0, DType::f32), half.constant(0.5, DType::f32)));
  const Tensor weights = run1(Softmax{3, false, false}, {run1(Map{half, {}}, {scores})});
  const Tensor heads = run1(MatMul{}, {weights, split_heads(v, 2)});
  const Tensor y = run1(attention(2, 2, 2), {q, k, v});
  expect_values(y, {2, 3, 4}, numbers(run1(Transpose{{0, 2, 1, 3}}, {heads})), 1e-5);
}

TEST(ReferenceAttention, EveryOrderHoldsTheSameNumbers) {
  const Tensor q = noise({2, 3, 4}, 1), k = noise({2, 5, 4}, 2), v = noise({2, 5, 4}, 3);
  const Tensor expected = run1(attention(2, 2, 2), {q, k, v});
  Attention op = attention(2, 2, 2);
  op.q_order = HeadOrder::seq_major;
  op.k_order = HeadOrder::transposed;
  op.v_order = HeadOrder::head_major;
  const Tensor keys = run1(Transpose{{0, 1, 3, 2}}, {split_heads(k, 2)});
  const std::vector<RefValue> operands{run1(Transpose{{1, 0, 2}}, {q}), keys, split_heads(v, 2)};
  expect_values(run1(op, operands), {2, 3, 4}, numbers(expected));
  op.output_order = HeadOrder::seq_major;
  expect_values(run1(op, operands), {3, 2, 4}, numbers(run1(Transpose{{1, 0, 2}}, {expected})));
  op.output_order = HeadOrder::head_major;
  expect_values(run1(op, operands), {2, 2, 3, 2}, numbers(split_heads(expected, 2)));
  op.output_order = HeadOrder::transposed;
  expect_values(run1(op, operands), {2, 2, 2, 3}, numbers(run1(Transpose{{0, 1, 3, 2}}, {split_heads(expected, 2)})));
}

TEST(ReferenceAttention, OneFusedOperandServesThrice) {
  const Tensor qkv = noise({1, 4, 12}, 7);
  const auto part = [&](int64_t i) { return run1(Slice{{2}, shape_of({4 * i}), shape_of({4}), {1}}, {qkv}); };
  Attention op = attention(2, 2, 2);
  const Tensor expected = run1(op, {part(0), part(1), part(2)});
  op.k_offset = 4;
  op.v_offset = 8;
  expect_values(run1(op, {qkv, qkv, qkv}), {1, 4, 4}, numbers(expected));
}

TEST(ReferenceAttention, QueryHeadsShareKeyHeads) {
  const Tensor q = noise({1, 2, 4}, 1), k = noise({1, 3, 2}, 2), v = noise({1, 3, 2}, 3);
  const std::vector<Tensor> twice{k, k}, values{v, v};
  const Tensor expected = run1(attention(4, 4, 1), {q, run1(Gather{2}, {k, ints({4}, {0, 0, 1, 1})}),
                                                    run1(Gather{2}, {v, ints({4}, {0, 0, 1, 1})})});
  expect_values(run1(attention(4, 2, 1), {q, k, v}), {1, 2, 4}, numbers(expected));
}

TEST(ReferenceAttention, CausalCountsFromItsOffset) {
  Attention op = attention(1, 1, 1);
  op.causal = true;
  const Tensor q(DType::f32, {1, 2, 1}), k(DType::f32, {1, 3, 1}), v = floats({1, 3, 1}, {3, 5, 10});
  expect_values(run1(op, {q, k, v}), {1, 2, 1}, {3, 4});
  op.causal_offset = Dim(1);
  expect_values(run1(op, {q, k, v}), {1, 2, 1}, {4, 6});
  op.causal_offset = Dim(-1);
  expect_values(run1(op, {q, k, v}), {1, 2, 1}, {0, 3});  // the first query sees nothing
}

TEST(ReferenceAttention, ScoreProgramKnowsItsPlaceAndExtras) {
  Attention op = attention(2, 2, 1);
  MapProgram p;  // head 1 sees only its own position; a mask hides keys where it is 0
  const int own = p.binary(MapOp::eq, p.iota(-1), p.iota(-2));
  const int first_head = p.binary(MapOp::eq, p.iota(-3), p.constant_int(0, DType::i64));
  const int seen =
      p.binary(MapOp::logical_and, p.binary(MapOp::logical_or, own, first_head), p.input(1, DType::boolean));
  p.finish(p.select(seen, p.input(0, DType::f32), p.constant(-kInf, DType::f32)));
  op.score = p;
  const Tensor zeros(DType::f32, {1, 2, 2}), v = floats({1, 2, 2}, {1, 10, 3, 30});
  expect_values(run1(op, {zeros, zeros, v, Tensor::of<bool>({1, 1, 1, 2}, {true, true})}), {1, 2, 2}, {2, 10, 2, 30});
  expect_values(run1(op, {zeros, zeros, v, Tensor::of<bool>({1, 1, 1, 2}, {true, false})}), {1, 2, 2}, {1, 10, 1, 0});
}

TEST(ReferenceAttention, PackedSequencesDoNotSeeEachOther) {
  const Tensor x = noise({1, 7, 8}, 1), mask = noise({1, 1, 1, 7}, 2);
  Attention op = attention(2, 2, 4);
  op.score.finish(op.score.binary(MapOp::add, op.score.input(0, DType::f32), op.score.input(1, DType::f32)));
  Attention packed = op;
  packed.packed = true;
  packed.longest = 4;
  const auto part = [](const Tensor& t, int64_t axis, int64_t first, int64_t size) {
    return run1(Slice{{axis}, {Dim(first)}, {Dim(size)}, {1}}, {t});
  };
  const auto starts = [](std::vector<int32_t> s) {
    return Tensor::of<int32_t>({static_cast<int64_t>(s.size())}, std::span<const int32_t>(s));
  };
  std::vector<RefValue> alone;
  for (const auto& [first, size] : {std::pair{0, 4}, {4, 0}, {4, 1}, {5, 2}}) {
    const Tensor tokens = part(x, 1, first, size);
    alone.emplace_back(run1(op, {tokens, tokens, tokens, part(mask, 3, first, size)}));
  }
  expect_values(run1(packed, {x, x, x, starts({0, 4, 4, 5, 7}), mask}), {1, 7, 8}, numbers(run1(Concat{1}, alone)),
                1e-6);
  for (const std::vector<int32_t>& bad : {std::vector<int32_t>{0, 5, 7}, {0, 4}, {1, 4, 7}, {0, 4, 3, 7}, {}})
    expect_error(ErrorCode::invalid_argument, "do not divide 7 tokens", [&] {
      run(packed, {x, x, x, starts(bad), mask});
    });
}

TEST(ReferenceAttention, RefusesOperandsThatDoNotFit) {
  expect_error(ErrorCode::invalid_argument, "[1, 2, 3]", [] {
    run1(attention(2, 2, 2), {counting({1, 2, 3}), counting({1, 2, 4}), counting({1, 2, 4})});
  });
  expect_error(ErrorCode::invalid_argument, "do not agree", [] {
    run1(attention(1, 1, 1), {counting({1, 2, 1}), counting({1, 2, 1}), counting({1, 3, 1})});
  });
}

TEST(ReferenceRotary, TurnsPairsAndCopiesTheRest) {
  const Tensor x = floats({1, 1, 5}, {1, 2, 3, 4, 9}), cos = floats({1, 2}, {0, 1}), sin = floats({1, 2}, {1, 0});
  expect_values(run1(Rotary{4, false}, {x, cos, sin}), {1, 1, 5}, {-3, 2, 1, 4, 9});
  expect_values(run1(Rotary{4, true}, {x, cos, sin}), {1, 1, 5}, {-2, 1, 3, 4, 9});
}

}  // namespace
}  // namespace lathe
