// Damaged files: every one gives an Error that blames the file, or still imports; nothing crashes.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>

#include "onnx/proto.h"
#include "tests/data_path.h"
#include "tests/onnx/model_builder.h"

namespace lathe::onnx {
namespace {

std::string sample(const std::string& name) {
  std::ifstream file(std::string(LATHE_TEST_DATA) + "/zoo/" + name + "/model.onnx", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void expect_survives(const std::string& bytes, const std::string& what) {
  try {
    import_bytes(bytes);
  } catch (const Error& e) {
    EXPECT_TRUE(e.code() == ErrorCode::invalid_model || e.code() == ErrorCode::unsupported ||
                e.code() == ErrorCode::invalid_argument || e.code() == ErrorCode::out_of_memory)
        << what << ": " << e.what();
  }
}

TEST(HostileFileTest, EveryTruncationIsAnErrorOrAModel) {
  const std::string bytes = sample("if-loop");
  ASSERT_GT(bytes.size(), 100u);
  for (size_t n = 0; n < bytes.size(); ++n) expect_survives(bytes.substr(0, n), "cut to " + std::to_string(n));
}

TEST(HostileFileTest, FlippedBytesAreErrorsOrModels) {
  for (const std::string name : {"if-loop", "boolean-indexing", "greedy-loop"}) {
    const std::string bytes = sample(name);
    ASSERT_GT(bytes.size(), 100u);
    std::mt19937 random(1);
    for (int i = 0; i < 3000; ++i) {
      std::string damaged = bytes;
      for (int k = 0; k < 1 + i % 3; ++k) damaged[random() % damaged.size()] = static_cast<char>(random());
      expect_survives(damaged, name + ", damage " + std::to_string(i));
    }
  }
}

TEST(HostileFileTest, DeepNestingIsRefused) {
  GraphBuilder innermost;
  innermost.add(node("Neg", {"x"}, {"y"})).output("y");
  std::string graph = innermost.bytes();
  for (int i = 0; i < 2 * kMaxNesting; ++i) {
    GraphBuilder around;
    around.add(node("If", {"c"}, {"y"}, {graph_attribute("then_branch", graph), graph_attribute("else_branch", "")}))
        .output("y");
    graph = around.bytes();
  }
  GraphBuilder g;
  g.input("c", 9, {}).input("x", 1, {"n"});
  g.add(node("If", {"c"}, {"y"}, {graph_attribute("then_branch", graph), graph_attribute("else_branch", graph)}))
      .output("y");
  try {
    import_bytes(model(g));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_model);
  }
}

TEST(HostileFileTest, OtherFilesAreNotModels) {
  EXPECT_THROW(import_bytes(""), Error);
  EXPECT_THROW(import_bytes("this is a text, not a model"), Error);
  EXPECT_THROW(import_bytes(std::string(1000, '\xff')), Error);
}

}  // namespace
}  // namespace lathe::onnx
