// MatMulNBits: how its packed operands become those of one op.
#include <gtest/gtest.h>

#include "base/error.h"
#include "graph/reference/evaluator.h"
#include "tests/onnx/model_builder.h"

namespace lathe::onnx {
namespace {

struct Call {
  std::vector<uint8_t> b;
  std::vector<float> scales;
  std::vector<uint8_t> zeros = {};  // packed
  std::vector<float> float_zeros = {};
  std::vector<int32_t> g_idx = {};
  std::vector<float> bias = {};
  int64_t n = 1, k = 16, bits = 4, block = 16, accuracy = 0;

  std::unique_ptr<Graph> graph() const {
    GraphBuilder g;
    g.input("a", 1, {"m", std::to_string(k)});
    const auto constant = [&](const std::string& name, const auto& values) -> std::string {
      using T = typename std::decay_t<decltype(values)>::value_type;
      if (values.empty()) return "";
      g.constant(name, Tensor::of<T>({static_cast<int64_t>(values.size())}, std::span<const T>(values)));
      return name;
    };
    const std::string zero = constant("z", zeros) + constant("fz", float_zeros);
    g.add(node("MatMulNBits",
               {"a", constant("b", b), constant("s", scales), zero, constant("g", g_idx), constant("c", bias)}, {"y"},
               {int_attribute("K", k), int_attribute("N", n), int_attribute("bits", bits),
                int_attribute("block_size", block), int_attribute("accuracy_level", accuracy)},
               "com.microsoft"));
    g.output("y");
    return import_bytes(model(g));
  }

  // On a row of ones, or of the given numbers.
  std::vector<double> run(std::vector<float> a = {}) const {
    a.resize(static_cast<size_t>(k), a.empty() ? 1.0F : 0.0F);
    const Tensor row = Tensor::of<float>({1, k}, std::span<const float>(a));
    const Tensor y = std::get<Tensor>(evaluate(*graph(), std::vector<RefValue>{row}).at(0));
    std::vector<double> values;
    for (int64_t i = 0; i < y.elements(); ++i) values.push_back(y.read_double(i));
    return values;
  }
};

const MatMulNBits* op_of(const Graph& graph) {
  for (const auto& node : graph.nodes())
    if (const auto* op = node->as<MatMulNBits>()) return op;
  return nullptr;
}

TEST(MatMulNBits, LowNibblesComeFirst) {
  const Call call{{0x3f, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88}, {2}};
  EXPECT_EQ(call.run({1}), std::vector<double>{2 * (15 - 8)});
  EXPECT_EQ(call.run({0, 1}), std::vector<double>{2 * (3 - 8)});
}

TEST(MatMulNBits, AccuracyOfLevelFourMayRound) {
  Call call{std::vector<uint8_t>(8, 0x88), {1}};
  EXPECT_FALSE(op_of(*call.graph())->round_rows);
  call.accuracy = 4;
  EXPECT_TRUE(op_of(*call.graph())->round_rows);
}

TEST(MatMulNBits, RowsOfZeroPointsBeginOnBytes) {
  Call call{std::vector<uint8_t>(16, 0x11), {1, 10}, {0x02, 0x05}};
  call.n = 2;
  EXPECT_EQ(call.run(), (std::vector<double>{16 * (1 - 2), 160 * (1 - 5)}));
  call.zeros = {};
  call.float_zeros = {0.5F, 1.25F};
  EXPECT_EQ(call.run(), (std::vector<double>{8, -40}));
}

TEST(MatMulNBits, TheLastBlockMayBeShort) {
  Call call{std::vector<uint8_t>(16, 0x99), {1, 100}};
  call.k = 18;
  call.bias = {0.5F};
  EXPECT_EQ(call.run(), std::vector<double>{16 + 200 + 0.5});
}

TEST(MatMulNBits, OtherWidths) {
  Call bytes{std::vector<uint8_t>(16, 130), {0.5F}};
  bytes.bits = 8;
  EXPECT_EQ(bytes.run(), std::vector<double>{16});
  Call pairs{std::vector<uint8_t>(4, 0xff), {1}};
  pairs.bits = 2;
  EXPECT_EQ(pairs.run(), std::vector<double>{16});
  pairs.bits = 3;
  EXPECT_THROW(pairs.run(), Error);
}

TEST(MatMulNBits, ColumnsInTheOrderOfTheirGroups) {
  Call call;
  call.k = 32;
  call.scales = {1, 100};
  for (int i = 0; i < 32; ++i) call.g_idx.push_back(i % 2);  // even columns are of block 0
  call.b.assign(16, 0x9a);                                   // even columns hold 2, odd ones 1
  EXPECT_EQ(call.run(), std::vector<double>{16 * 2 + 16 * 100});
  EXPECT_EQ(op_of(*call.graph())->block, 16);
  EXPECT_EQ(call.run({3, 5}), std::vector<double>{3 * 2 + 5 * 100});
  call.g_idx[0] = 1;  // blocks of 15 and 17 columns
  EXPECT_EQ(call.run(), std::vector<double>{15 * 2 + 200 + 16 * 100});
  EXPECT_EQ(op_of(*call.graph())->block, 1);
  call.zeros = {0xa9};
  EXPECT_EQ(call.run(), std::vector<double>{15 * 1 + 0 - 16 * 100});
}

}  // namespace
}  // namespace lathe::onnx
