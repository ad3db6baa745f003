#include "tools/pinned_dims.h"

#include <gtest/gtest.h>

#include "graph/text.h"

namespace lathe::tools {
namespace {

std::vector<PinnedDim> pins(std::string_view body) {
  return find_pinned_dims(*parse_graph(fmt::format("graph g(%x: f32[batch, seq, 8]) {{\n{}\n}}", body)));
}

TEST(PinnedDims, AFreeModelHasNone) {
  EXPECT_TRUE(pins(R"(%y = reshape(%x) {shape = [batch*seq, 8]} : f32[batch*seq, 8]
                      %z = reshape(%y) {shape = [batch, seq, 2, 4]} : f32[batch, seq, 2, 4]
                      return %z as "z")")
                  .empty());
}

TEST(PinnedDims, SqueezeNeedsOne) {
  const auto found = pins(R"(%y = reshape(%x) {shape = [seq, 8]} : f32[seq, 8] @ "squeeze"
                             return %y as "y")");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].dim.to_string(), "batch");
  EXPECT_EQ(found[0].needed(), "1");
  EXPECT_EQ(found[0].node, "squeeze");
}

TEST(PinnedDims, ReshapeToConstantsNeedsTheirProduct) {
  const auto found = pins(R"(%y = reshape(%x) {shape = [batch, 128, 2, 4]} : f32[batch, 128, 2, 4] @ "r"
                             return %y as "y")");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].dim.to_string(), "seq");
  EXPECT_EQ(found[0].needed(), "128");
  const auto both = pins(R"(%y = reshape(%x) {shape = [4, 16]} : f32[4, 16] @ "r"
                            return %y as "y")");
  ASSERT_EQ(both.size(), 1u);
  EXPECT_EQ(both[0].dim.to_string(), "batch*seq");
  EXPECT_EQ(both[0].needed(), "8");
}

TEST(PinnedDims, BroadcastLeavesAChoice) {
  const auto found = pins(R"(%table = constant {value = f32[1, 128, 8] splat(0)}
                             %y = map(%x, %table) {program = (x0, x1) => add(x0, x1)} : f32[batch, 128, 8] @ "add"
                             return %y as "y")");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].dim.to_string(), "seq");
  EXPECT_EQ(found[0].needed(), "1 or 128");
  EXPECT_EQ(found[0].node, "add");
}

TEST(PinnedDims, EachPinIsNamedOnce) {
  const auto found = pins(R"(%y = reshape(%x) {shape = [seq, 8]} : f32[seq, 8] @ "first"
                             %z = reshape(%x) {shape = [seq, 8]} : f32[seq, 8] @ "second"
                             return %y as "y", %z as "z")");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].node, "first");
}

}  // namespace
}  // namespace lathe::tools
