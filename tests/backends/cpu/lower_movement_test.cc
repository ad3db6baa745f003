// Lowering of data movement: every element size, edge sizes, results equal bit by bit.
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class LowerMovement : public LowerTest {};
LATHE_FOR_EACH_DEVICE(LowerMovement);

constexpr DType kTypes[] = {DType::f64, DType::f32, DType::i64,     DType::i32,
                            DType::i16, DType::u8,  DType::boolean, DType::f16};

std::string type(DType dtype, const std::string& shape) { return std::string(to_string(dtype)) + shape; }

Tensor numbers(DType dtype, Sizes dims) {
  return random_tensor(dtype, std::move(dims), 5, 0, dtype == DType::boolean ? 1 : 100);
}

TEST_P(LowerMovement, Transpose) {
  for (const DType t : kTypes) {
    check_exact("(%x: " + type(t, "[a, b, c]") + ") { %y = transpose(%x) {perm = [2, 0, 1]} return %y }",
                {numbers(t, {3, 17, 5})});
    check_exact("(%x: " + type(t, "[a, b, c]") + ") { %y = transpose(%x) {perm = [0, 2, 1]} return %y }",
                {numbers(t, {2, 33, 70})});
    check_exact("(%x: " + type(t, "[a, b]") + ") { %y = transpose(%x) {perm = [1, 0]} return %y }",
                {numbers(t, {0, 4})});
  }
  check_exact("(%x: f32[]) { %y = transpose(%x) {perm = []} return %y }", {floats({})});
}

TEST_P(LowerMovement, Slice) {
  const std::string body =
      " { %y = slice(%x) {axes = [0, 2], starts = [1, c - 1], sizes = [a - 2, floor_div(c, 2)], steps = [1, -2]} "
      "return %y }";
  for (const DType t : kTypes) {
    check_exact("(%x: " + type(t, "[a, b, c]") + ")" + body, {numbers(t, {4, 3, 9})});
    check_exact("(%x: " + type(t, "[a, b, c]") + ")" + body, {numbers(t, {2, 3, 8})});
  }
  check_exact("(%x: i64[n]) { %y = slice(%x) {axes = [0], starts = [n - 1], sizes = [n], steps = [-1]} return %y }",
              {ids({7}, 100)});
}

TEST_P(LowerMovement, SliceBeyondTheEndIsRefused) {
  const auto graph =
      graph_of("(%x: f32[n]) { %y = slice(%x) {axes = [0], starts = [2], sizes = [3], steps = [1]} return %y }");
  LoweredGraph lowered(*graph, GetParam(), 1, true);
  EXPECT_EQ(lowered.run({floats({5})})[0].elements(), 3);
  EXPECT_THROW(lowered.run({floats({4})}), Error);
}

TEST_P(LowerMovement, Concat) {
  for (const DType t : kTypes) {
    const std::string inputs = "(%x: " + type(t, "[a, b]") + ", %y: " + type(t, "[a, c]") + ")";
    check_exact(inputs + " { %z = concat(%x, %y, %x) {axis = 1} return %z }", {numbers(t, {5, 3}), numbers(t, {5, 6})});
    check_exact(inputs + " { %z = concat(%x, %y) {axis = 1} return %z }", {numbers(t, {2, 0}), numbers(t, {2, 1})});
  }
  check_exact("(%x: i64[n], %y: i64[m]) { %z = concat(%x, %y) {axis = 0} return %z }", {ids({1}, 9), ids({2}, 9)});
}

TEST_P(LowerMovement, Pad) {
  for (const std::string mode : {"constant", "reflect", "edge", "wrap"}) {
    const std::string fields = "{mode = " + mode + ", begins = [0, 2], ends = [1, 1]}";
    for (const DType t : kTypes)
      check_exact("(%x: " + type(t, "[a, b]") + ") { %y = pad(%x) " + fields + " return %y }", {numbers(t, {3, 4})});
  }
  check_exact("(%x: f32[a, b], %v: f32[]) { %y = pad(%x, %v) {begins = [1, -1], ends = [0, a]} return %y }",
              {floats({3, 4}), floats({})});
  check_exact("(%x: i64[a], %v: i64[]) { %y = pad(%x, %v) {begins = [1], ends = [0]} return %y }",
              {ids({3}, 9), ids({}, 9)});
}

TEST_P(LowerMovement, Gather) {
  for (const DType t : kTypes) {
    const std::string x = "(%x: " + type(t, "[a, b, c]") + ", %i: i64[p, q])";
    for (const int64_t axis : {0, 1, 2})
      check_exact(x + " { %y = gather(%x, %i) {axis = " + std::to_string(axis) + "} return %y }",
                  {numbers(t, {5, 6, 7}), random_tensor(DType::i64, {2, 3}, 3, -5, 4)});
  }
  check_exact("(%x: i64[n], %i: i32[]) { %y = gather(%x, %i) return %y }",
              {ids({5}, 100), random_tensor(DType::i32, {}, 1, 0, 4)});
  check_exact("(%x: f32[n, 3], %i: i64[m]) { %y = gather(%x, %i) return %y }", {floats({5, 3}), ids({0}, 1)});
}

TEST_P(LowerMovement, GatherOutOfRangeSaysWhere) {
  if (GetParam().name == "cuda") GTEST_SKIP() << "kernels cannot report errors; what they do instead has its own test";
  const auto graph = graph_of("(%x: f32[n], %i: i64[m]) { %y = gather(%x, %i) return %y }");
  LoweredGraph lowered(*graph, GetParam(), 1, true);
  EXPECT_THROW(lowered.run({floats({5}), Tensor::of<int64_t>({2}, {0, 5})}), Error);
}

TEST_P(LowerMovement, ReshapeAndDims) {
  check_exact(
      "(%x: f32[n, 6]) { %y = reshape(%x) {shape = [2*n, 3]} %z = map(%y) {program = (x0) => neg(x0)} return %y, %z }",
      {floats({4, 6})});
  check_exact(
      "(%x: f32[n, 6]) { %d = dims {values = [n, 6*n + 1]} %s = dims {values = [n], scalar = true} return %d, %s }",
      {floats({4, 6})});
}

}  // namespace
}  // namespace lathe::cpu
