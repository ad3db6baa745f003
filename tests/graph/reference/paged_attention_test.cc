// Attention over a paged cache, against the attention op over keys that lie in a row.
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

PagedAttention paged(int64_t heads, int64_t kv_heads, int64_t dim) {
  PagedAttention op;
  op.heads = heads;
  op.kv_heads = kv_heads;
  op.head_dim = op.value_dim = dim;
  op.q_stride = op.k_stride = op.v_stride = dim;
  op.block_size = 2;
  op.scale = 0.5;
  return op;
}

Tensor ints32(Sizes dims, std::vector<int32_t> values) {
  return Tensor::of<int32_t>(std::move(dims), std::span<const int32_t>(values));
}

struct Step {
  Tensor q, k, v, keys, values, starts, contexts, table;

  std::vector<RefValue> operands() const { return {q, k, v, keys, values, starts, contexts, table}; }
};

// One head of one feature; every query is 0, so that y is the mean of the values that a token sees.
Step mean_step(const std::vector<float>& values, std::vector<int32_t> starts, std::vector<int32_t> contexts,
               Tensor table, Tensor cache) {
  const auto tokens = static_cast<int64_t>(values.size());
  const auto sequences = static_cast<int64_t>(contexts.size());
  return {Tensor(DType::f32, {tokens, 1}),
          Tensor(DType::f32, {tokens, 1}),
          floats({tokens, 1}, values),
          Tensor(DType::f32, cache.dims()),
          cache,
          ints32({sequences + 1}, std::move(starts)),
          ints32({sequences}, std::move(contexts)),
          std::move(table)};
}

TEST(ReferencePagedAttention, WritesRowsAndSeesTheirPast) {
  // Sequence 0 has 1 and 3 in block 2 and adds 5 in the first row of block 0; sequence 1 begins in block 3.
  const Step step = mean_step({5, 10, 20}, {0, 1, 3}, {3, 2}, ints32({2, 2}, {2, 0, 3, 99}),
                              floats({4, 1, 2, 1}, {0, 0, 0, 0, 1, 3, 0, 0}));
  const std::vector<RefValue> results = run(paged(1, 1, 1), step.operands());
  ASSERT_EQ(results.size(), 3u);
  expect_values(std::get<Tensor>(results[0]), {3, 1}, {3, 10, 15});
  expect_values(std::get<Tensor>(results[2]), {4, 1, 2, 1}, {5, 0, 0, 0, 1, 3, 10, 20});
  expect_values(step.values, {4, 1, 2, 1}, {0, 0, 0, 0, 1, 3, 0, 0});  // the operand itself is left alone
}

TEST(ReferencePagedAttention, RowsOf8BitsHaveScales) {
  // Two rows of four features in each block, then their scales.
  for (const DType type : {DType::i8, DType::f8e4m3}) {
    const Tensor values =
        floats({3, 4}, {127, -63.5, 0.4, 0, 0, 0, 0, 0, 1, -2, std::numeric_limits<float>::infinity(), 3});
    PagedAttention op = paged(1, 1, 4);
    const Tensor cache(type, {2, 1, 2, 8});
    const std::vector<RefValue> results =
        run(op, {Tensor(DType::f32, {3, 4}), Tensor(DType::f32, {3, 4}), values, cache, cache, ints32({2}, {0, 3}),
                 ints32({1}, {3}), ints32({1, 2}, {1, 0})});
    const std::span<const float> y = std::get<Tensor>(results[0]).as<float>();
    EXPECT_NEAR(y[0], 127, 1e-4);
    EXPECT_NEAR(y[1], -63.5, type == DType::i8 ? 0.51 : 1);
    EXPECT_NEAR(y[2], 0.4, type == DType::i8 ? 0.5 : 0.02);
    EXPECT_EQ(y[3], 0);
    EXPECT_NEAR(y[4], 127.0 / 2, 1e-4);  // the mean with a row of zeros
    for (size_t d = 8; d < 12; ++d) EXPECT_TRUE(std::isnan(y[d]));
    const std::span<const std::byte> stored = std::get<Tensor>(results[2]).bytes().subspan(16);  // block 1
    EXPECT_EQ(static_cast<uint8_t>(stored[0]), type == DType::i8 ? 127 : 0x7e);
    float scale = 0;
    std::memcpy(&scale, stored.data() + 8, sizeof scale);
    EXPECT_EQ(scale, type == DType::i8 ? 1.0f : 127.0f / 448);
  }
}

TEST(ReferencePagedAttention, EqualsCausalAttentionOverARow) {
  const int64_t tokens = 5, heads = 4, kv_heads = 2, dim = 3;
  const Tensor q = noise({tokens, heads * dim}, 1), k = noise({tokens, kv_heads * dim}, 2),
               v = noise({tokens, kv_heads * dim}, 3);
  Attention dense;
  dense.heads = heads;
  dense.kv_heads = kv_heads;
  dense.head_dim = dense.value_dim = dense.q_stride = dense.k_stride = dense.v_stride = dim;
  dense.scale = 0.5;
  dense.causal = true;
  const auto batch = [&](const Tensor& x) { return x.reshaped({1, tokens, x.dims()[1]}); };
  const Tensor expected = run1(dense, {batch(q), batch(k), batch(v)});

  const Tensor cache(DType::f32, {3, kv_heads, 2, dim});
  Tensor keys = cache, values = cache;
  std::vector<double> rows;
  for (const auto& [from, to] : {std::pair{0, 2}, {2, 3}, {3, 5}}) {  // chunks of the prompt
    const auto part = [&, first = from, count = to - from](const Tensor& x) {
      return run1(Slice{{0}, shape_of({first}), shape_of({count}), {1}}, {x});
    };
    const Step step{part(q),
                    part(k),
                    part(v),
                    keys,
                    values,
                    ints32({2}, {0, to - from}),
                    ints32({1}, {to}),
                    ints32({1, 3}, {1, 2, 0})};
    std::vector<RefValue> results = run(paged(heads, kv_heads, dim), step.operands());
    for (const double x : numbers(std::get<Tensor>(results[0]))) rows.push_back(x);
    keys = std::get<Tensor>(results[1]);
    values = std::get<Tensor>(results[2]);
  }
  expect_values(expected, {1, tokens, heads * dim}, rows, 1e-6);
}

TEST(ReferencePagedAttention, WindowsAndPrefixesChooseTheKeys) {
  const Tensor cache(DType::f32, {2, 1, 2, 1});
  const Step step = mean_step({1, 2, 6, 15}, {0, 4}, {4}, ints32({1, 2}, {0, 1}), cache);
  PagedAttention op = paged(1, 1, 1);
  expect_values(run1(op, step.operands()), {4, 1}, {1, 1.5, 3, 6});
  op.window = 2;
  expect_values(run1(op, step.operands()), {4, 1}, {1, 1.5, 4, 10.5});
  op.chunked = true;
  expect_values(run1(op, step.operands()), {4, 1}, {1, 1.5, 6, 10.5});
  op.window = 0;
  op.chunked = false;
  std::vector<RefValue> operands = step.operands();
  operands.push_back(ints32({1}, {3}));
  expect_values(run1(op, operands), {4, 1}, {3, 3, 3, 6});
  operands.back() = ints32({1}, {50});  // no further than the context
  expect_values(run1(op, operands), {4, 1}, {6, 6, 6, 6});
}

TEST(ReferencePagedAttention, CapsScoresThenAddsSlopes) {
  const Step step{floats({2, 1}, {8, 8}),
                  floats({2, 1}, {1, -1}),
                  floats({2, 1}, {0, 1}),
                  Tensor(DType::f32, {1, 1, 2, 1}),
                  Tensor(DType::f32, {1, 1, 2, 1}),
                  ints32({2}, {0, 2}),
                  ints32({1}, {2}),
                  ints32({1, 1}, {0})};
  PagedAttention op = paged(1, 1, 1);
  op.softcap = 2;
  std::vector<RefValue> operands = step.operands();
  operands.emplace_back();
  operands.push_back(floats({1}, {0.5}));
  std::vector<const RefValue*> pointers;
  for (const RefValue& operand : operands) pointers.push_back(&operand);
  pointers[8] = nullptr;
  SymbolBindings symbols;
  const double first = 2 * std::tanh(2.0), second = -first + 0.5;
  const double weight = std::exp(second) / (std::exp(first) + std::exp(second));
  expect_values(std::get<Tensor>(evaluate_op(op, pointers, 1, symbols)[0]), {2, 1}, {0, weight});
}

TEST(ReferencePagedAttention, BiasesGoByTheDistance) {
  // Queries are 0, so weights are the exponentials of the biases: ln 1, ln 2 and, from distance 2 on, ln 4.
  const Step step = mean_step({1, 2, 6, 15}, {0, 4}, {4}, ints32({1, 2}, {0, 1}), Tensor(DType::f32, {2, 1, 2, 1}));
  std::vector<RefValue> operands = step.operands();
  const Tensor biases = floats({1, 3}, {0, std::log(2.0f), std::log(4.0f)});
  std::vector<const RefValue*> pointers;
  for (const RefValue& operand : operands) pointers.push_back(&operand);
  const RefValue last = biases;
  pointers.insert(pointers.end(), {nullptr, nullptr, &last});
  SymbolBindings symbols;
  const auto y = [&] { return std::get<Tensor>(evaluate_op(paged(1, 1, 1), pointers, 1, symbols)[0]); };
  expect_values(y(), {4, 1}, {1, 4 / 3.0, 14 / 7.0, 39 / 11.0});
  const RefValue prefix = ints32({1}, {2});  // what comes after a token is at distance 0
  pointers[8] = &prefix;
  expect_values(y(), {4, 1}, {1.5, 4 / 3.0, 14 / 7.0, 39 / 11.0});
}

TEST(ReferencePagedAttention, SinksAreKeysWithoutValues) {
  // Queries are 0, so a sink of ln 2 weighs as much as two keys, and one of minus infinity nothing.
  const Step step = mean_step({1, 2, 6, 15}, {0, 4}, {4}, ints32({1, 2}, {0, 1}), Tensor(DType::f32, {2, 1, 2, 1}));
  const std::vector<RefValue> operands = step.operands();
  const auto y = [&](float sink) {
    const RefValue sinks = floats({1}, {sink});
    std::vector<const RefValue*> pointers;
    for (const RefValue& operand : operands) pointers.push_back(&operand);
    pointers.insert(pointers.end(), {nullptr, nullptr, nullptr, nullptr, &sinks});
    SymbolBindings symbols;
    return std::get<Tensor>(evaluate_op(paged(1, 1, 1), pointers, 1, symbols)[0]);
  };
  expect_values(y(std::log(2.0f)), {4, 1}, {1 / 3.0, 3 / 4.0, 9 / 5.0, 4});
  expect_values(y(-std::numeric_limits<float>::infinity()), {4, 1}, {1, 1.5, 3, 6});
}

TEST(ReferencePagedAttention, KeysOfAnotherText) {
  // Sequence 0 brings its three keys, sequence 1 has had its two; its tokens see both.
  const Tensor keys(DType::f32, {4, 1, 2, 1}), values = floats({4, 1, 2, 1}, {0, 0, 10, 30, 0, 0, 0, 0});
  const RefValue q = Tensor(DType::f32, {3, 1}), k = Tensor(DType::f32, {3, 1}), v = floats({3, 1}, {1, 2, 6}),
                 key_cache = keys, value_cache = values, starts = ints32({3}, {0, 1, 3}),
                 contexts = ints32({2}, {3, 2}), table = ints32({2, 2}, {3, 0, 1, 99}),
                 key_starts = ints32({3}, {0, 3, 3});
  const std::vector<const RefValue*> operands = {&q,        &k,     &v,      &key_cache, &value_cache, &starts,
                                                 &contexts, &table, nullptr, nullptr,    nullptr,      &key_starts};
  SymbolBindings symbols;
  const std::vector<RefValue> results = evaluate_op(paged(1, 1, 1), operands, 1, symbols);
  expect_values(std::get<Tensor>(results[0]), {3, 1}, {3, 20, 20});
  expect_values(std::get<Tensor>(results[2]), {4, 1, 2, 1}, {6, 0, 10, 30, 0, 0, 1, 2});
}

TEST(ReferencePagedAttention, TokensOfNoSequenceAreZeroAndNotStored) {
  const Step step = mean_step({7, 8, 9}, {0, 0, 1}, {77, 1}, ints32({2, 1}, {99, 1}), Tensor(DType::f32, {2, 1, 2, 1}));
  const std::vector<RefValue> results = run(paged(1, 1, 1), step.operands());
  expect_values(std::get<Tensor>(results[0]), {3, 1}, {7, 0, 0});
  expect_values(std::get<Tensor>(results[2]), {2, 1, 2, 1}, {0, 0, 7, 0});
}

TEST(ReferencePagedAttention, RoundsToTheTypeOfTheCache) {
  Step step = mean_step({1.0009765f, 1.0001f}, {0, 2}, {2}, ints32({1, 1}, {0}), Tensor(DType::f16, {1, 1, 2, 1}));
  const std::vector<RefValue> results = run(paged(1, 1, 1), step.operands());
  expect_values(std::get<Tensor>(results[0]), {2, 1}, {1.0009765625, 1.00048828125}, 0);
  EXPECT_EQ(std::get<Tensor>(results[2]).dtype(), DType::f16);
}

TEST(ReferencePagedAttention, RefusesStepsThatMakeNoSense) {
  const Tensor cache(DType::f32, {2, 1, 2, 1}), table = ints32({1, 1}, {0});
  const auto refuse = [&](std::string_view text, const Step& step) {
    expect_error(ErrorCode::invalid_argument, text, [&] { run(paged(1, 1, 1), step.operands()); });
  };
  refuse("starts at token 1", mean_step({1, 2}, {1, 2}, {1}, table, cache));
  refuse("starts at token 1 and ends at 0", mean_step({1, 2}, {0, 1, 0}, {1, 1}, ints32({2, 1}, {0, 1}), cache));
  refuse("ends at token 3 of 2", mean_step({1, 2}, {0, 3}, {3}, ints32({1, 2}, {0, 1}), cache));
  refuse("2 new tokens in a context of 1", mean_step({1, 2}, {0, 2}, {1}, table, cache));
  refuse("reaches to 2", mean_step({1}, {0, 1}, {3}, table, cache));
  refuse("block 2 of 2", mean_step({1}, {0, 1}, {1}, ints32({1, 1}, {2}), cache));
  refuse("block -1 of 2", mean_step({1}, {0, 1}, {1}, ints32({1, 1}, {-1}), cache));
}

TEST(ReferencePagedAttention, GraphsGiveNewStateAfterTheirOutputs) {
  Graph graph;
  const auto input = [&](const char* name, const Tensor& t) {
    return graph.add_input(name, Type::tensor(t.dtype(), shape_of(t.dims())));
  };
  const Step step = mean_step({5}, {0, 1}, {1}, ints32({1, 1}, {1}), Tensor(DType::f32, {2, 1, 2, 1}));
  const std::vector<RefValue> operands = step.operands();
  std::vector<Value*> inputs;
  for (const RefValue& operand : operands) inputs.push_back(input("x", std::get<Tensor>(operand)));
  graph.add_output(graph.emit(paged(1, 1, 1), inputs), "y");
  EXPECT_TRUE(is_state(*inputs[3]));
  EXPECT_FALSE(is_state(*inputs[2]));
  const std::vector<RefValue> results = evaluate(graph, operands);
  ASSERT_EQ(results.size(), 3u);
  expect_values(std::get<Tensor>(results[2]), {2, 1, 2, 1}, {0, 0, 5, 0});
}

}  // namespace
}  // namespace lathe
