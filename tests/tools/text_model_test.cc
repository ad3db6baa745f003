#include "tools/text_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "tests/base/temporary_folder.h"

namespace lathe::tools {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(TextModel, ScoresBecomeProbabilities) {
  const std::vector<double> shares = probabilities(std::vector<double>{1000, 1000 + std::log(3.0)});
  EXPECT_NEAR(shares[0], 0.25, 1e-12);
  EXPECT_NEAR(shares[1], 0.75, 1e-12);
  EXPECT_THAT(probabilities(std::vector<double>{0.25, 0.75}), ElementsAre(0.25, 0.75));  // already a distribution
  EXPECT_THAT(probabilities(std::vector<double>{}), IsEmpty());
}

TEST(TextModel, LargestFirstAndTiesInOrder) {
  EXPECT_THAT(largest(std::vector<double>{1, 3, 2, 3}, 3), ElementsAre(1u, 3u, 2u));
  EXPECT_THAT(largest(std::vector<double>{1}, 10), ElementsAre(0u));
}

TEST(TextModel, WhichFileIsTheModel) {
  const TemporaryFolder folder;
  EXPECT_THROW(find_model(folder.path()), Error);
  EXPECT_THROW(find_model(folder / "missing"), Error);
  folder.write("a.onnx", "x");
  EXPECT_EQ(find_model(folder.path()), folder / "a.onnx");
  folder.write("b.onnx", "x");
  EXPECT_THROW(find_model(folder.path()), Error);  // which one?
  EXPECT_EQ(find_model(folder / "b.onnx"), folder / "b.onnx");
  folder.write("model.onnx", "x");
  EXPECT_EQ(find_model(folder.path()), folder / "model.onnx");
  folder.write("model.plan", "x");
  EXPECT_EQ(find_model(folder.path()), folder / "model.plan");
}

TEST(TextModel, Labels) {
  const TemporaryFolder folder;
  EXPECT_THAT(read_labels(folder.path()), IsEmpty());
  folder.write("labels.txt", "bad\r\ngood\n");
  EXPECT_THAT(read_labels(folder.path()), ElementsAre("bad", "good"));
  folder.write("config.json", R"({"id2label": {"1": "yes", "0": "no", "10": "x"}})");
  EXPECT_THAT(read_labels(folder.path()), ElementsAre("no", "yes", "2"));  // a gap keeps its number
  folder.write("config.json", "not json");
  EXPECT_THAT(read_labels(folder.path()), ElementsAre("bad", "good"));
}

}  // namespace
}  // namespace lathe::tools
