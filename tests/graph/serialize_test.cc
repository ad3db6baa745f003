#include "graph/serialize.h"

#include <gmock/gmock.h>

#include <random>

#include "base/error.h"
#include "graph/hash.h"
#include "graph/text.h"
#include "graph/verifier.h"
#include "tests/graph/every_op.h"

namespace lathe {
namespace {

class Store : public ConstantSink, public ConstantSource {
 public:
  uint64_t store(const Tensor& tensor) override {
    tensors.push_back(tensor);
    return tensors.size() - 1;
  }
  Tensor load(uint64_t index, DType, const std::vector<int64_t>&) override {
    if (index >= tensors.size()) fail(ErrorCode::invalid_model, "there is no constant {}", index);
    return tensors[index];
  }
  std::vector<Tensor> tensors;
};

TEST(Serialize, EveryOpSurvivesTheRoundTrip) {
  const auto graph = parse_graph(test::kEveryOp);
  Store store;
  const auto bytes = serialize(*graph, store);
  const auto again = deserialize(bytes, store);
  EXPECT_EQ(print(*again), print(*graph));
  EXPECT_TRUE(structurally_equal(*graph, *again));
}

TEST(Serialize, OnlyLargeConstantsGoOutOfLine) {
  const auto graph = parse_graph(R"(graph () {
    %small = constant {value = u8[256] splat(1)}
    %large = constant {value = u8[257] splat(2)}
    %text = constant {value = string[2] ["a", ""]}
    return %small as "s", %large as "l", %text as "t"
  })");
  Store store;
  const auto bytes = serialize(*graph, store);
  ASSERT_EQ(store.tensors.size(), 1u);
  EXPECT_EQ(store.tensors[0].elements(), 257);
  // The storage itself is handed over, not a copy.
  const Tensor& source = graph->outputs()[1]->producer()->as<Constant>()->value;
  EXPECT_EQ(store.tensors[0].bytes().data(), source.bytes().data());
  const auto again = deserialize(bytes, store);
  EXPECT_EQ(again->outputs()[1]->producer()->as<Constant>()->value.bytes().data(), source.bytes().data());
}

TEST(Serialize, DeferredConstantsPassThrough) {
  Graph graph;
  graph.add_output(graph.emit(Constant{Tensor::deferred(DType::f32, {2}, 7)}, {}), "w");
  Store store;
  const auto again = deserialize(serialize(graph, store), store);
  EXPECT_EQ(again->outputs()[0]->producer()->as<Constant>()->value.deferred_id(), 7);
}

TEST(Serialize, EqualGraphsGiveEqualBytes) {
  Store a, b;
  const auto graph = parse_graph(test::kEveryOp);
  EXPECT_EQ(serialize(*graph, a), serialize(*parse_graph(print(*graph)), b));
}

TEST(Serialize, SourcesMustGiveTheRightType) {
  const auto graph = parse_graph("graph () { %w = constant {value = f32[100] splat(1)} return %w as \"w\" }");
  Store store;
  const auto bytes = serialize(*graph, store);
  store.tensors[0] = Tensor(DType::f16, {100});
  EXPECT_THROW(deserialize(bytes, store), Error);
}

TEST(Serialize, OtherVersionsAreRefused) {
  Store store;
  auto bytes = serialize(*parse_graph("graph () { return }"), store);
  bytes[3] ^= std::byte{1};
  try {
    deserialize(bytes, store);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("another version"));
  }
}

// Whatever the bytes: a graph that verifies, or Error(invalid_model).
void expect_safe(const std::vector<std::byte>& bytes, Store& store) {
  try {
    verify(*deserialize(bytes, store));
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_model) << e.what();
  }
}

TEST(Serialize, EveryTruncationIsRefused) {
  Store store;
  const auto bytes = serialize(*parse_graph(test::kEveryOp), store);
  for (size_t n = 0; n < bytes.size(); n += 1 + n / 64)
    EXPECT_THROW(deserialize(std::span(bytes).first(n), store), Error) << n;
  auto longer = bytes;
  longer.push_back(std::byte{0});
  EXPECT_THROW(deserialize(longer, store), Error);
}

TEST(Serialize, DamagedBytesAreSafe) {
  Store store;
  const auto bytes = serialize(*parse_graph(test::kEveryOp), store);
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    auto damaged = bytes;
    for (int changes = 1 + static_cast<int>(random() % 3); changes > 0; --changes)
      damaged[8 + random() % (damaged.size() - 8)] = static_cast<std::byte>(random() % 4 == 0 ? 0xff : random());
    expect_safe(damaged, store);
  }
}

TEST(Hash, FollowsStructureNotNames) {
  const auto graph = parse_graph(test::kEveryOp), same = parse_graph(test::kEveryOp);
  EXPECT_EQ(hash(*graph), hash(*same));
  same->rename(same->inputs()[0], "another name");
  EXPECT_EQ(hash(*graph), hash(*same));
  same->inputs()[0]->set_type(Type::tensor(DType::f16, {1}));
  EXPECT_NE(hash(*graph), hash(*same));
}

TEST(Hash, SeesEveryKindOfField) {
  const Op op = Pool{PoolKind::max, {2}, {1}, {1}, {0, 0}};
  Op other = op;
  EXPECT_EQ(hash(op), hash(other));
  std::get<Pool>(other).pads[1] = Dim::symbol("p");
  EXPECT_NE(hash(op), hash(other));
  EXPECT_NE(hash(Op(Softmax{1, false, false})), hash(Op(Softmax{1, true, false})));
  EXPECT_NE(hash(Op(Softmax{1})), hash(Op(Concat{1})));
  EXPECT_NE(hash(Op(Resize{})), hash(Op(Rnn{})));
  EXPECT_NE(hash(Tensor::scalar(0.0f)), hash(Tensor::scalar(-0.0f)));
  EXPECT_NE(hash(Tensor::of<float>({2, 1}, {1, 2})), hash(Tensor::of<float>({1, 2}, {1, 2})));
}

TEST(Hash, IsTheSameInEveryRun) {
  Hasher h;
  h.add(std::string_view("lathe"));
  h.add(uint64_t{42});
  EXPECT_EQ(h.finish(), UINT64_C(5743136034987984462));
}

}  // namespace
}  // namespace lathe
